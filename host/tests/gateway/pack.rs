//! `unskew pack` against a gateway that runs.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::admin::{Administered, TOKEN};
use crate::reload::{NEW, revised};
use crate::support::*;

/// Runs `unskew pack`; its exit code, what it printed, and what it complained of.
fn pack(admin: &Administered, words: &[&str], file: Option<&Path>) -> (i32, String, String) {
    let mut program = Command::new(env!("CARGO_BIN_EXE_unskew"));
    program.arg("pack").args(words).args(file).env("UNSKEW_TOKEN", TOKEN);
    program.env("UNSKEW_ADMIN", admin.gateway.admin_address().unwrap().to_string());
    let run = program.output().unwrap();
    let [out, err] = [run.stdout, run.stderr].map(|text| String::from_utf8(text).unwrap());
    (run.status.code().unwrap(), out, err)
}

#[tokio::test]
async fn a_pack_is_compared_pushed_staged_promoted_rolled_back_and_shown() {
    let admin = Administered::new("pack", "").await;
    let next = admin.folder.0.join("next.toml");
    std::fs::write(&next, revised(2, "r2")).unwrap();
    let (code, out, err) = pack(&admin, &["diff", "--cases", "10"], Some(&next));
    assert!(out.starts_with("against revision 1, on "), "{out}{err}");
    assert!(out.contains("step 1→2: with remove") || out.contains("r2"), "{out}");
    assert!(code < 2, "{err}");

    let (code, out, err) = pack(&admin, &["push"], Some(&next));
    assert_eq!(code, 0, "{err}");
    assert!(out.starts_with("test revision 2 (generation ") && out.contains(" is active, "), "{out}");
    assert!(post(&admin.gateway, "/sessions/a/join", NEW).await.ok().text().contains("r2"));
    assert!(pack(&admin, &["push"], Some(&next)).1.contains("was active already"));

    std::fs::write(&next, revised(3, "r3")).unwrap();
    assert!(pack(&admin, &["push", "--stage"], Some(&next)).1.contains("is staged: unskew pack promote"));
    assert!(pack(&admin, &["canary", "100"], None).1.contains("serves 100 % of the sessions"));
    assert!(post(&admin.gateway, "/sessions/b/join", NEW).await.ok().text().contains("r3"));
    assert!(pack(&admin, &["promote"], None).1.contains("revision 3"));
    assert!(pack(&admin, &["rollback", "--reason", "joins fail"], None).1.contains("revision 2"));
    let (code, _, err) = pack(&admin, &["push"], Some(&next));
    assert_eq!((code, err.contains("it was put aside (joins fail)")), (1, true), "{err}");
    let (_, out, _) = pack(&admin, &["status"], None);
    assert!(out.starts_with("active    test revision 2"), "{out}");
    assert!(out.contains("previous  ") && out.contains("joins fail"), "{out}");
    let (_, out, _) = pack(&admin, &["--json", "status"], None);
    assert_eq!(serde_json::from_str::<Value>(&out).unwrap()["active"]["revision"], 2);
    assert_eq!(pack(&admin, &["push", "--force"], Some(&next)).0, 0);
    assert!(post(&admin.gateway, "/sessions/c/join", NEW).await.ok().text().contains("r3"));
}

#[tokio::test]
async fn what_goes_wrong_is_told_with_what_to_do() {
    let admin = Administered::new("pack-wrong", "").await;
    let bad = admin.folder.0.join("bad.toml");
    std::fs::write(&bad, revised(2, "").replace("rename", "renam")).unwrap();
    let (code, _, err) = pack(&admin, &["push"], Some(&bad));
    assert_eq!((code, err.contains("bad.toml:14:3: step 1→2, op 1: unknown op")), (1, true), "{err}");
    let (code, _, err) = pack(&admin, &["rollback"], None);
    assert_eq!((code, err.contains("no previous generation")), (1, true), "{err}");
    let (code, _, err) = pack(&admin, &["push"], Some(Path::new("/nowhere/pack.toml")));
    assert_eq!((code, err.contains("/nowhere/pack.toml: can't be read")), (3, true), "{err}");
    assert_eq!(pack(&admin, &["push"], None).0, 2);
    assert_eq!(pack(&admin, &["canary", "101"], None).0, 2);
    let token = admin.folder.0.join("wrong-token");
    std::fs::write(&token, "wrong").unwrap();
    let (code, _, err) = pack(&admin, &["status", "--token-file"], Some(&token));
    assert_eq!((code, err.contains("Authorization: Bearer")), (1, true), "{err}");
    assert!(!err.contains(TOKEN));
    let (code, _, err) = pack(&admin, &["status", "--admin"], Some(Path::new("127.0.0.1:1")));
    assert_eq!((code, err.contains("is there a gateway with [admin]")), (4, true), "{err}");
}
