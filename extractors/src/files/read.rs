//! Reading a slice of a dump.

use pipeline_core::error::Result;
use pipeline_core::quarantine::{Quarantine, Rejected};

use super::input::Input;
use super::range::{Range, Seen, changed};
use super::{Inner, Shape};
use crate::bson::{self, CursorField, Decoder};
use crate::personal::Personal;
use crate::produce::Outlet;

/// Reads a slice to its end, or until nobody wants more.
pub(super) fn read(inner: &Inner, range: &Range, quarantine: &Quarantine, outlet: &Outlet) -> Result<()> {
    let seen = range.check(&inner.dump)?;
    match &inner.shape {
        Shape::Bson { cursor } => documents(inner, cursor.as_ref(), range, quarantine, outlet)?,
        Shape::Copy { columns, cursor } => super::copy::read(inner, columns, cursor.as_ref(), range, quarantine, outlet)?,
    }
    if !outlet.is_closed() && Seen::of(&inner.dump)? != seen {
        return Err(changed(&inner.dump));
    }
    Ok(())
}

fn documents(inner: &Inner, cursor: Option<&CursorField>, range: &Range, quarantine: &Quarantine, outlet: &Outlet) -> Result<()> {
    let mut input = Input::open(&inner.dump, range.start, None)?;
    let mut decoder = Decoder::new(&inner.contract, inner.key.as_ref())?;
    let personal = Personal::of(&inner.contract);
    let mut passed_over = 0_u64;
    // The end of a compressed file is where its data ends; only plain files are cut.
    let end = if inner.dump.is_compressed { u64::MAX } else { range.end };
    while input.offset() < end {
        let Some((offset, document)) = input.document()? else { break };
        if !range.wanted.admits(|| cursor.and_then(|cursor| cursor.read(document))) {
            passed_over += 1;
            continue;
        }
        let position = format!("offset {offset}");
        if range.positions.as_ref().is_some_and(|positions| !positions.contains(&position)) {
            continue;
        }
        if let Err(misfit) = decoder.append(document) {
            let rejected = Rejected {
                column: misfit.column,
                reason: misfit.reason,
                position,
                raw: bson::open_part(document, &personal),
                format: bson::FORMAT.into(),
                fields: None,
            };
            quarantine.reject(&inner.contract.table, rejected)?;
        }
        if decoder.is_full() && !outlet.put(decoder.finish()?) {
            return Ok(());
        }
    }
    if decoder.rows() > 0 {
        outlet.put(decoder.finish()?);
    }
    if passed_over > 0 || decoder.undeclared() > 0 {
        tracing::info!(table = %inner.contract.table, rows_passed_over = passed_over, undeclared_fields = decoder.undeclared(), "dump read");
    }
    Ok(())
}
