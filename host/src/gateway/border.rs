//! The border to clients: an inline carry is opened on its way in and sealed on its way out, or it doesn't cross.

use bytes::Bytes;

use super::codec;
use super::pointer::splice;
use super::problem::{Refusal, Refused};
use super::request::{Body, Ctx, Record, RecordPlace};
use super::state::{Carrier, State};
use crate::contract::Fidelity;
use crate::generation::CarryMember;
use crate::limits::Mode;
use crate::seal::{Crossing, Seal};

impl State {
    /// The member of inline carries, where this request's records are looked at and clients can reach them.
    pub(crate) fn inline(&self, ctx: &Ctx) -> Option<CarryMember> {
        let acts = ctx.mode == Mode::Enforce && ctx.rule.is_some() && self.carrier.meets_clients();
        ctx.generation.as_ref().filter(|_| acts)?.carry_member().cloned()
    }

    /// The record that came with the request: from here on it is what the server may see of it.
    pub(crate) async fn clear_request(&self, ctx: &mut Ctx) -> Result<(), Refusal> {
        let Some(Record { bytes, place }) = ctx.record.clone() else { return Ok(()) };
        let Some(record) = self.carry_in(ctx, &bytes).await? else { return Ok(()) };
        let place = match (place, &mut ctx.body) {
            (RecordPlace::Body(place), Body::Whole(body)) => {
                let now = place.start..place.start + record.len();
                *body = splice(body, place, &record);
                RecordPlace::Body(now)
            }
            (place @ (RecordPlace::Body(_) | RecordPlace::Header), _) => place,
        };
        ctx.record = Some(Record { bytes: record, place });
        ctx.cleared = true;
        Ok(())
    }

    /// Lays a record whose carry was opened or taken out into the request, where no translation has done so.
    pub(crate) fn lay_cleared(&self, ctx: &mut Ctx) -> Result<(), Refusal> {
        let (true, Some(placed)) = (ctx.cleared, &mut ctx.placed) else { return Ok(()) };
        match (&self.carrier, &ctx.body, &ctx.record) {
            (Carrier::Head { place, encoding }, _, Some(record)) if placed.header.is_none() => {
                placed.header = Some(codec::encode(&record.bytes, *encoding).ok_or_else(|| {
                    let detail = format!("the record can't stand in the {place}: use an encoding of base64");
                    Refusal::new(Refused::BadRecord, detail)
                })?);
            }
            (Carrier::Body { .. }, Body::Whole(body), _) if placed.body.is_none() => placed.body = Some(body.clone()),
            (Carrier::None | Carrier::Body { .. } | Carrier::Head { .. } | Carrier::Store { .. }, _, _) => {}
        }
        Ok(())
    }

    /// A client's record with its carry opened, or without it. None where it stays as it is.
    pub(crate) async fn carry_in(&self, ctx: &mut Ctx, record: &Bytes) -> Result<Option<Bytes>, Refusal> {
        let Some(member) = self.inline(ctx) else { return Ok(None) };
        let (seal, session, bytes) = (self.seal.clone(), ctx.session.clone(), record.clone());
        let cross = move || match (&seal, &session) {
            (Some(seal), Some(session)) => seal.inward(session, &member, &bytes),
            (None, _) | (_, None) => Seal::strip(&member, &bytes),
        };
        match self.offload.run(record.len(), cross).await {
            Ok(Crossing::Unchanged) => Ok(None),
            Ok(Crossing::Opened(record) | Crossing::Sealed(record)) => {
                self.counters.opened.one();
                ctx.carry_in = Some("opened");
                Ok(Some(record.into()))
            }
            Ok(Crossing::Stripped(record)) => {
                self.counters.stripped.one();
                ctx.carry_in = Some("stripped");
                tracing::info!(session = ctx.session.as_deref().unwrap_or_default(), "client's carry is taken out");
                Ok(Some(record.into()))
            }
            Err(_) => Err(Refusal::new(Refused::BadRecord, UNREAD)),
        }
    }

    /// A server's record with its carry sealed for the client. None where it stays as it is.
    pub(crate) async fn carry_out(&self, ctx: &mut Ctx, record: &Bytes) -> Result<Option<Bytes>, Refusal> {
        let Some(member) = self.inline(ctx) else { return Ok(None) };
        let (seal, session, bytes) = (self.seal.clone(), ctx.session.clone(), record.clone());
        let cross = move || match (&seal, &session) {
            (Some(seal), Some(session)) => seal.outward(session, &member, &bytes),
            (None, _) | (_, None) => Seal::strip(&member, &bytes),
        };
        match self.offload.run(record.len(), cross).await {
            Ok(Crossing::Unchanged) | Err(_) => Ok(None), // what is no JSON holds no carry
            Ok(Crossing::Sealed(record) | Crossing::Opened(record)) => {
                self.counters.sealed.one();
                ctx.carry_out = Some("sealed");
                Ok(Some(record.into()))
            }
            Ok(Crossing::Stripped(record)) => {
                if ctx.session.is_none() && self.max_loss() < Fidelity::Lossy {
                    let detail = "the request names no session for which the carry of its record could be sealed";
                    return Err(Refusal::new(Refused::BadAnswer, detail));
                }
                self.counters.stripped.one();
                ctx.carry_out = Some("stripped");
                tracing::warn!(
                    session = ctx.session.as_deref().unwrap_or_default(),
                    "what stands in the carry's place of a server's record is taken out"
                );
                Ok(Some(record.into()))
            }
        }
    }
}

/// Why a request is refused whose record can't be read: where carries are inline, `opaque` lets nothing pass.
pub(crate) const UNREAD: &str = "the record can't be read, so nobody can say what carry it brings: send plain JSON";
