//! A folder of packs, watched: the newest that can be taken serves, whatever lies beside it.

use std::path::PathBuf;
use std::time::Duration;

use unskew::Runtime;
use unskew::gateway::Gateway;

use crate::reload::{Folder, TEXT};
use crate::sources::{old, pack, serves, until_serves};
use crate::support::*;

struct Shelf(Folder);

impl Shelf {
    fn new(name: &str) -> Shelf {
        let folder = Folder::new(name);
        std::fs::create_dir_all(folder.0.join("packs")).unwrap();
        Shelf(folder)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.0.join("packs").join(name)
    }

    fn put(&self, name: &str, text: &str) {
        std::fs::write(self.file(name), text).unwrap();
    }

    fn start(&self, server: &Upstream) -> Result<Gateway, unskew::gateway::StartError> {
        let mut config = config(TEXT, &[server.entry("1")]);
        config.pack = Some(self.0.0.join("packs"));
        Gateway::start(config, Runtime::empty().unwrap(), None)
    }
}

fn after(revision: u32, after: u32) -> String {
    pack(revision).replace("\n[[version]]\nid = \"1\"", &format!("\nafter = {after}\n[[version]]\nid = \"1\""))
}

#[tokio::test]
async fn the_newest_pack_of_a_folder_serves_and_newer_ones_as_they_come() {
    let (shelf, server) = (Shelf::new("newest"), Upstream::echo().await);
    assert!(shelf.start(&server).is_err(), "an empty folder is no pack");
    shelf.put("0009.toml", &pack(9));
    shelf.put("0010.toml", &pack(10)); // by revision, and not by name
    shelf.put("2.toml", &pack(2));
    let gateway = shelf.start(&server).unwrap();
    assert_eq!(serves(&gateway).await, old(10));
    shelf.put("0011.toml", &pack(11));
    until_serves(&gateway, 11).await;
    // An older one that comes later, and the newest going away, change nothing.
    shelf.put("0005.toml", &pack(5));
    std::fs::remove_file(shelf.file("0011.toml")).unwrap();
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert_eq!((serves(&gateway).await, gateway.counts().bad_packs), (old(11), 0));
    shelf.put("0012.json", "{}");
    until("what is no pack is refused", || gateway.counts().bad_packs == 1).await;
    shelf.put("0013.toml", &pack(13));
    until_serves(&gateway, 13).await;
    assert_eq!(gateway.counts().bad_packs, 1, "and that once, whatever else changes");
}

#[tokio::test]
async fn whatever_lies_beside_the_packs_takes_nothing_away() {
    let (shelf, server) = (Shelf::new("beside"), Upstream::echo().await);
    shelf.put("0001.toml", &pack(1));
    for name in ["README.md", ".0009.toml", "0009.toml.swp", "0009.toml~", "0009.toml.part", "guest.wasm", "key"] {
        shelf.put(name, &pack(9));
    }
    std::fs::create_dir_all(shelf.file("0008.toml")).unwrap();
    let fifo = shelf.file("0007.toml");
    let made = std::process::Command::new("mkfifo").arg(&fifo).status().unwrap();
    assert!(made.success());
    let gateway = shelf.start(&server).unwrap();
    assert_eq!(serves(&gateway).await, old(1));
    // The newest is broken in several ways, the one below it is good.
    shelf.put("0006.toml", "no pack");
    shelf.put("0005.toml", &pack(5).replace("rename", "renam"));
    shelf.put("0004.toml", "\u{feff}name = 1");
    std::fs::write(shelf.file("0003.toml"), [0xff, 0xfe, 0x00]).unwrap();
    shelf.put("0002.toml", &pack(2));
    until_serves(&gateway, 2).await;
    until("each is refused", || gateway.counts().bad_packs >= 4).await;
}

#[tokio::test]
async fn a_pack_that_is_still_being_written_is_left_alone() {
    use std::io::Write as _;
    let (shelf, server) = (Shelf::new("partial"), Upstream::echo().await);
    shelf.put("1.toml", &pack(1));
    let gateway = shelf.start(&server).unwrap();
    // From now on it is known to watch.
    shelf.put("2.toml", &pack(2));
    until_serves(&gateway, 2).await;
    // Its beginning is a whole pack by itself, with another meaning.
    let text = pack(3);
    let (half, rest) = text.split_once("[policy]").unwrap();
    let mut file = std::fs::File::create(shelf.file("3.toml")).unwrap();
    file.write_all(half.replace("r3", "half").as_bytes()).unwrap();
    file.flush().unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!((serves(&gateway).await, gateway.counts().bad_packs), (old(2), 0));
    use std::io::Seek as _;
    file.seek(std::io::SeekFrom::Start(0)).unwrap();
    file.set_len(0).unwrap();
    file.write_all(half.as_bytes()).unwrap();
    file.write_all(format!("[policy]{rest}").as_bytes()).unwrap();
    drop(file);
    until_serves(&gateway, 3).await;
    assert_eq!(gateway.counts().bad_packs, 0);
}

#[tokio::test]
async fn packs_of_a_folder_are_taken_in_the_order_that_they_ask_for() {
    let (shelf, server) = (Shelf::new("order"), Upstream::echo().await);
    shelf.put("1.toml", &pack(1));
    let gateway = shelf.start(&server).unwrap();
    shelf.put("3.toml", &after(3, 2));
    until("it waits", || gateway.counts().bad_packs >= 1).await;
    assert_eq!(serves(&gateway).await, old(1));
    shelf.put("2.toml", &pack(2));
    until_serves(&gateway, 3).await;
    assert_eq!(gateway.counts().swaps, 3, "by way of the second");
    // All at once, each after the one before.
    shelf.put("6.toml", &after(6, 5));
    shelf.put("5.toml", &after(5, 4));
    shelf.put("4.toml", &after(4, 3));
    until_serves(&gateway, 6).await;
}
