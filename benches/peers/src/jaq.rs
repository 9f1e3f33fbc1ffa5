//! The edits as jq programs, run by jaq: compiled once, then parsed, run and written for each record.

use anyhow::{Context, Result, anyhow, bail};
use jaq_core::load::{Arena, File, Loader};
use jaq_core::{Ctx, Vars, data, unwrap_valr};
use jaq_json::write::Pp;
use jaq_json::{Val, read, write};

use crate::Edit;

/// The edit of this shape's pack.
pub(crate) fn edit(shape: &str) -> Result<Edit> {
    let code = match shape {
        "session" => include_str!("../programs/session.jq"),
        "cookie" => include_str!("../programs/cookie.jq"),
        "room" => include_str!("../programs/room.jq"),
        other => bail!("no shape {other:?}"),
    };
    let definitions = jaq_core::defs().chain(jaq_std::defs()).chain(jaq_json::defs());
    let functions = jaq_core::funs().chain(jaq_std::funs()).chain(jaq_json::funs());
    let arena = Arena::default();
    let modules = Loader::new(definitions).load(&arena, File { code, path: () });
    let modules = modules.map_err(|errors| anyhow!("{shape}.jq: {errors:?}"))?;
    let filter = jaq_core::Compiler::default().with_funs(functions).compile(modules);
    let filter = filter.map_err(|errors| anyhow!("{shape}.jq: {errors:?}"))?;
    let pp = Pp::default();
    Ok(Box::new(move |record| {
        let input = read::parse_single(record).map_err(|error| anyhow!("{error:?}"))?;
        let context = Ctx::<data::JustLut<Val>>::new(&filter.lut, Vars::new([]));
        let value = filter.id.run((context, input)).map(unwrap_valr).next().context("the program has an answer")?;
        let value = value.map_err(|error| anyhow!("{error:?}"))?;
        let mut out = Vec::with_capacity(record.len());
        write::write(&mut out, &pp, 0, &value)?;
        Ok(out)
    }))
}
