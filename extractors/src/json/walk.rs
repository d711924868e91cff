//! From an object's members to the columns that take them.

use pipeline_core::contract::Only;

use crate::bson::Decoder;
use crate::bson::column::{Column, Data, Treatment};
use crate::bson::decode::{Extras, Field, Group, Level, Path, Segment, fill};
use crate::bson::unfit::Misfit;

use super::scalar;
use super::scan::{Elements, Kind, Members, Value};

/// Appends an object as one row, or leaves everything as it was. `outside` are members that the source keeps beside the object (an
/// identifier, for example): they are read by the columns that name them, and are not undeclared otherwise.
///
/// # Errors
/// The first value that does not fit.
pub(crate) fn append(decoder: &mut Decoder, object: Value<'_>, outside: &[(&str, Value<'_>)]) -> Result<(), Box<Misfit>> {
    decoder.append_row(object.text.len(), |level, columns, rows, extras| {
        if object.kind != Kind::Object {
            return Err(Misfit::boxed(Misfit::DOCUMENT, format!("{} stands where an object is expected", object.name())));
        }
        let mut walk = Walk { columns, rows, extras };
        walk.object(level, object, None)?;
        for (name, value) in outside {
            if let Some(field) = level.place(name, 0).and_then(|place| level.fields.get(place)) {
                walk.take(field, *value, &below(None, name))?;
            }
        }
        Ok(())
    })
}

/// The columns that are read from one object.
struct Walk<'a> {
    columns: &'a mut [Column],
    /// Whole rows before this one.
    rows: usize,
    extras: &'a mut Extras,
}

impl Walk<'_> {
    /// Appends what one object has for the columns of a level. Columns that meet no value keep their length.
    fn object(&mut self, level: &Level, object: Value<'_>, above: Option<&Path<'_>>) -> Result<(), Box<Misfit>> {
        let mut members = Members::of(object);
        let mut expected = 0;
        while let Some((name, value)) = members.next()? {
            if let Some(place) = self.member(level, &name, value, above, expected)? {
                expected = place + 1;
            }
        }
        Ok(())
    }

    /// One member; the place of its field, if it has one.
    fn member(
        &mut self,
        level: &Level,
        name: &str,
        value: Value<'_>,
        above: Option<&Path<'_>>,
        expected: usize,
    ) -> Result<Option<usize>, Box<Misfit>> {
        if let Some((place, field)) = level.place(name, expected).and_then(|place| Some((place, level.fields.get(place)?))) {
            let path = below(above, name);
            if !self.take(field, value, &path)? {
                self.undeclared(&path, value)?;
            }
            return Ok(Some(place));
        }
        if let Some((head, deeper)) = name.split_once('.')
            && let Some((place, field)) = level.place(head, expected).and_then(|place| Some((place, level.fields.get(place)?)))
            && !field.inner.fields.is_empty()
        {
            self.member(&field.inner, deeper, value, Some(&below(above, head)), 0)?;
            return Ok(Some(place));
        }
        self.undeclared(&below(above, name), value)?;
        Ok(None)
    }

    fn undeclared(&mut self, path: &Path<'_>, value: Value<'_>) -> Result<(), Box<Misfit>> {
        self.extras.add_text(path, |text| {
            value.write(text);
            Ok(())
        })
    }

    /// Gives the value to the columns that take it. False if it is undeclared after all.
    fn take(&mut self, field: &Field, value: Value<'_>, path: &Path<'_>) -> Result<bool, Box<Misfit>> {
        let mut taken = field.sealed;
        for target in &field.targets {
            let Some(column) = self.columns.get_mut(*target) else { continue };
            if column.len() > self.rows {
                // The same name again: the last one counts.
                column.truncate(self.rows);
                self.extras.forget(path)?;
            }
            let fits = match column.only {
                None => true,
                Some(Only::String) => value.kind == Kind::String,
                Some(Only::Document) => value.kind == Kind::Object,
            };
            if value.kind == Kind::Null {
                taken = true;
            } else if fits {
                append_to(column, value, path, self.extras)?;
                taken = true;
            }
        }
        if !field.inner.fields.is_empty() {
            match value.kind {
                Kind::Object => {
                    self.object(&field.inner, value, Some(path))?;
                    taken = true;
                }
                Kind::Array => {
                    let mut elements = Elements::of(value);
                    let mut index = 0_usize;
                    while let Some(element) = elements.next()? {
                        self.member(&field.inner, &index.to_string(), element, Some(path), index)?;
                        index += 1;
                    }
                    taken = true;
                }
                Kind::Null => taken = true,
                Kind::Boolean | Kind::Number | Kind::String if !taken => {
                    let column = field.inner.columns.first().and_then(|index| self.columns.get(*index)).map_or("", |column| &column.path);
                    return Err(Misfit::boxed(column, format!("{} stands where an object is expected", value.name())));
                }
                Kind::Boolean | Kind::Number | Kind::String => {}
            }
        }
        Ok(taken)
    }
}

fn below<'a>(above: Option<&'a Path<'a>>, name: &'a str) -> Path<'a> {
    Path { above, segment: Segment::Name(name.as_bytes()), depth: above.map_or(0, |above| above.depth) + 1 }
}

/// Appends a value that is not NULL. On a misfit, the column ends with a part of it, which truncating removes.
fn append_to(column: &mut Column, value: Value<'_>, path: &Path<'_>, extras: &mut Extras) -> Result<(), Box<Misfit>> {
    let wrong = |column: &str, declared: &str| Misfit::boxed(column, format!("{} stands where {declared} is declared", value.name()));
    match (&mut column.data, value.kind) {
        (Data::Struct(group), Kind::Object) => {
            let rows = column.nulls.len();
            let Group { level, columns, .. } = &mut **group;
            Walk { columns, rows, extras }.object(level, value, Some(path))?;
            fill(columns, rows)?;
        }
        (Data::List { offsets, child }, Kind::Array) => {
            let mut elements = Elements::of(value);
            let mut index = 0;
            while let Some(element) = elements.next()? {
                if element.kind == Kind::Null {
                    child.append_null();
                } else {
                    let path = Path { above: Some(path), segment: Segment::Index(index), depth: path.depth + 1 };
                    append_to(child, element, &path, extras)?;
                }
                index += 1;
            }
            match i32::try_from(child.len()) {
                Ok(end) => offsets.push(end),
                Err(_) => return Err(Misfit::boxed(&column.path, "a list is too long for a batch")),
            }
        }
        (Data::Secret { inner, treatment, text }, _) => {
            append_to(inner, value, path, &mut Extras::default())?;
            match treatment {
                Treatment::Mask => text.bytes.extend_from_slice(pipeline_core::privacy::MASK.as_bytes()),
                Treatment::Hash(key) => {
                    let shown = inner.data.shown().unwrap_or_else(|| {
                        let mut text = Vec::new();
                        value.write(&mut text);
                        text
                    });
                    text.bytes.extend_from_slice(key.hash(&shown).as_bytes());
                }
            }
            inner.truncate(0);
            text.end();
        }
        (Data::Dropped { .. }, _) => {
            column.nulls.append_null();
            return Ok(());
        }
        (Data::Struct(_) | Data::List { .. }, _) => return Err(wrong(&column.path, &column.declared)),
        (data, _) => {
            scalar::append(data, value).map_err(|unfit| Misfit::boxed(&column.path, unfit.reason(value.name(), &column.declared)))?;
        }
    }
    column.nulls.append_non_null();
    Ok(())
}
