//! The edits in VRL, the language of Vector: compiled once, then parsed, run and written for each record.

use anyhow::{Context as _, Result, anyhow, bail};
use vrl::compiler::state::RuntimeState;
use vrl::compiler::{Context, TargetValue, TimeZone};
use vrl::value::{Secrets, Value};

use crate::Edit;

/// The edit of this shape's pack. Parsing and writing are the program's own, as they are in Vector's `remap` transforms.
pub(crate) fn edit(shape: &str) -> Result<Edit> {
    let code = match shape {
        "session" => include_str!("../programs/session.vrl"),
        "cookie" => include_str!("../programs/cookie.vrl"),
        "room" => include_str!("../programs/room.vrl"),
        other => bail!("no shape {other:?}"),
    };
    let code = format!(". = parse_json!(.message)\n{code}\nencode_json(.)\n");
    let compiled = vrl::compiler::compile(&code, &vrl::stdlib::all());
    let program = compiled.map_err(|errors| anyhow!("{shape}.vrl: {errors:?}"))?.program;
    let timezone = TimeZone::default();
    Ok(Box::new(move |record| {
        let message = Value::from(std::str::from_utf8(record)?);
        let mut target = TargetValue {
            value: Value::Object([("message".into(), message)].into()),
            metadata: Value::Object(Default::default()),
            secrets: Secrets::default(),
        };
        let mut state = RuntimeState::default();
        let text = program.resolve(&mut Context::new(&mut target, &mut state, &timezone));
        let text = text.map_err(|error| anyhow!("{error:?}"))?;
        Ok(text.as_bytes().context("the program answers a text")?.to_vec())
    }))
}
