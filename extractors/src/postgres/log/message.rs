//! Messages of the output plugin `pgoutput`, protocol version 1. Format: PostgreSQL 15 documentation, 55.9, "Logical Replication Message
//! Formats".

use super::lsn::Lsn;

/// A message. What a change of a row means is up to the relation that was described last under its number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Message<'a> {
    /// A transaction begins; all that follows until its [`Message::Commit`] belongs to it.
    Begin {
        /// Where its commit stands in the log.
        commit: Lsn,
        /// Its number.
        transaction: u32,
    },
    /// The transaction ends.
    Commit,
    /// A relation's columns, before its first change, and again when they changed.
    Relation(Relation<'a>),
    /// A row is new.
    Insert { relation: u32, new: Tuple<'a> },
    /// A row is another. The old one is there if its identity changed, or the relation's identity is the full row.
    Update { relation: u32, old: Option<Tuple<'a>>, new: Tuple<'a> },
    /// A row is gone.
    Delete { relation: u32, old: Tuple<'a> },
    /// All rows of some relations are gone.
    Truncate { relations: Vec<u32> },
    /// What says nothing about rows: an origin, a type, somebody's own message.
    Other,
}

/// A relation's description.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Relation<'a> {
    /// Its object identifier.
    pub(super) oid: u32,
    /// Its columns, in the order of tuples.
    pub(super) columns: Vec<Column<'a>>,
}

/// A column of a relation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Column<'a> {
    pub(super) name: &'a str,
    /// Whether it is a part of the replica identity, so that old rows have it.
    pub(super) is_identity: bool,
}

/// A row's values, in the order of its relation's columns.
pub(super) type Tuple<'a> = Vec<Value<'a>>;

/// A value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value<'a> {
    Null,
    /// Stored apart (TOAST) and not changed, so not said again.
    Unchanged,
    /// As its type's output function writes it.
    Text(&'a str),
}

/// What is wrong with a message. Never holds any of it: it could be a row's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed(pub(super) &'static str);

const SHORT: Malformed = Malformed("ends early");

impl<'a> Message<'a> {
    /// Reads one message.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader(bytes);
        let message = match reader.u8()? {
            b'B' => {
                let commit = Lsn(reader.u64()?);
                // The time of the commit.
                reader.u64()?;
                Self::Begin { commit, transaction: reader.u32()? }
            }
            b'C' => return Ok(Self::Commit),
            b'R' => Self::Relation(reader.relation()?),
            b'I' => {
                let relation = reader.u32()?;
                reader.expect(b"N")?;
                Self::Insert { relation, new: reader.tuple()? }
            }
            b'U' => {
                let relation = reader.u32()?;
                let old = match reader.expect(b"KON")? {
                    b'N' => None,
                    _ => {
                        let old = reader.tuple()?;
                        reader.expect(b"N")?;
                        Some(old)
                    }
                };
                Self::Update { relation, old, new: reader.tuple()? }
            }
            b'D' => {
                let relation = reader.u32()?;
                reader.expect(b"KO")?;
                Self::Delete { relation, old: reader.tuple()? }
            }
            b'T' => {
                let count = reader.u32()?;
                // Options: whether CASCADE or RESTART IDENTITY was said.
                reader.u8()?;
                let mut relations = Vec::new();
                for _ in 0..count {
                    relations.push(reader.u32()?);
                }
                Self::Truncate { relations }
            }
            b'O' | b'Y' | b'M' => return Ok(Self::Other),
            _ => return Err(Malformed("is of a kind that is not known")),
        };
        if reader.0.is_empty() { Ok(message) } else { Err(Malformed("goes on behind its end")) }
    }
}

/// What is left of a message.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn bytes(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let (head, rest) = self.0.split_at_checked(length).ok_or(SHORT)?;
        self.0 = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (head, rest) = self.0.split_first_chunk::<N>().ok_or(SHORT)?;
        self.0 = rest;
        Ok(*head)
    }

    fn u8(&mut self) -> Result<u8, Malformed> {
        self.array().map(u8::from_be_bytes)
    }

    fn u16(&mut self) -> Result<u16, Malformed> {
        self.array().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_be_bytes)
    }

    /// One of some bytes.
    fn expect(&mut self, wanted: &[u8]) -> Result<u8, Malformed> {
        let byte = self.u8()?;
        if wanted.contains(&byte) { Ok(byte) } else { Err(Malformed("has something else where a row should begin")) }
    }

    /// A text that a zero byte ends.
    fn text(&mut self) -> Result<&'a str, Malformed> {
        let length = self.0.iter().position(|byte| *byte == 0).ok_or(SHORT)?;
        let text = self.bytes(length)?;
        self.u8()?;
        utf8(text)
    }

    fn relation(&mut self) -> Result<Relation<'a>, Malformed> {
        let oid = self.u32()?;
        // Its schema, its name, and the kind of its replica identity, which each column says more exactly.
        self.text()?;
        self.text()?;
        self.u8()?;
        let count = self.u16()?;
        let mut columns = Vec::with_capacity(count.into());
        for _ in 0..count {
            let is_identity = self.u8()? & 1 == 1;
            let name = self.text()?;
            // The type and its modifier: the catalog is asked for them.
            self.u64()?;
            columns.push(Column { name, is_identity });
        }
        Ok(Relation { oid, columns })
    }

    fn tuple(&mut self) -> Result<Tuple<'a>, Malformed> {
        let count = self.u16()?;
        let mut values = Vec::with_capacity(count.into());
        for _ in 0..count {
            values.push(match self.u8()? {
                b'n' => Value::Null,
                b'u' => Value::Unchanged,
                b't' => {
                    let length = usize::try_from(self.u32()?).map_err(|_| SHORT)?;
                    Value::Text(utf8(self.bytes(length)?)?)
                }
                _ => return Err(Malformed("has a value in a form that was not asked for")),
            });
        }
        Ok(values)
    }
}

fn utf8(bytes: &[u8]) -> Result<&str, Malformed> {
    std::str::from_utf8(bytes).map_err(|_| Malformed("has a text that is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tuple(values: &[Option<&str>]) -> Vec<u8> {
        let mut bytes = u16::try_from(values.len()).unwrap().to_be_bytes().to_vec();
        for value in values {
            match value {
                None => bytes.push(b'n'),
                Some("…") => bytes.push(b'u'),
                Some(text) => {
                    bytes.push(b't');
                    bytes.extend(u32::try_from(text.len()).unwrap().to_be_bytes());
                    bytes.extend(text.as_bytes());
                }
            }
        }
        bytes
    }

    fn message(kind: u8, parts: &[&[u8]]) -> Vec<u8> {
        [&[kind], parts.concat().as_slice()].concat()
    }

    #[test]
    fn transactions_begin_with_the_place_of_their_end() {
        let bytes = message(b'B', &[&0x1_6B37_4D48_u64.to_be_bytes(), &0_u64.to_be_bytes(), &731_u32.to_be_bytes()]);
        assert_eq!(Message::parse(&bytes), Ok(Message::Begin { commit: Lsn(0x1_6B37_4D48), transaction: 731 }));
        assert_eq!(Message::parse(&message(b'C', &[&[0; 25]])), Ok(Message::Commit));
    }

    #[test]
    fn relations_say_which_columns_old_rows_have() {
        let bytes = message(
            b'R',
            &[
                &16_390_u32.to_be_bytes(),
                b"public\0t\0d",
                &2_u16.to_be_bytes(),
                &[1],
                b"id\0",
                &20_u32.to_be_bytes(),
                &(-1_i32).to_be_bytes(),
                &[0],
                b"note\0",
                &25_u32.to_be_bytes(),
                &(-1_i32).to_be_bytes(),
            ],
        );
        let columns = vec![Column { name: "id", is_identity: true }, Column { name: "note", is_identity: false }];
        assert_eq!(Message::parse(&bytes), Ok(Message::Relation(Relation { oid: 16_390, columns })));
    }

    #[test]
    fn rows_come_new_old_or_both() {
        let relation = 7_u32.to_be_bytes();
        let (one, two) = (tuple(&[Some("1"), None]), tuple(&[Some("2"), Some("…")]));
        let (new, old) = (vec![Value::Text("2"), Value::Unchanged], vec![Value::Text("1"), Value::Null]);
        let parse = |bytes: &[u8]| format!("{:?}", Message::parse(bytes).unwrap());
        assert_eq!(parse(&message(b'I', &[&relation, b"N", &two])), format!("{:?}", Message::Insert { relation: 7, new: new.clone() }));
        for kind in [b"K", b"O"] {
            assert_eq!(
                parse(&message(b'U', &[&relation, kind, &one, b"N", &two])),
                format!("{:?}", Message::Update { relation: 7, old: Some(old.clone()), new: new.clone() })
            );
            assert_eq!(parse(&message(b'D', &[&relation, kind, &one])), format!("{:?}", Message::Delete { relation: 7, old: old.clone() }));
        }
        assert_eq!(parse(&message(b'U', &[&relation, b"N", &two])), format!("{:?}", Message::Update { relation: 7, old: None, new }));
        let truncate = message(b'T', &[&2_u32.to_be_bytes(), &[1], &7_u32.to_be_bytes(), &9_u32.to_be_bytes()]);
        assert_eq!(Message::parse(&truncate), Ok(Message::Truncate { relations: vec![7, 9] }));
    }

    #[test]
    fn every_cut_is_noticed_and_none_panics() {
        let relation = 7_u32.to_be_bytes();
        let (one, two) = (tuple(&[Some("1"), None]), tuple(&[Some("2"), Some("…")]));
        let whole = message(b'U', &[&relation, b"K", &one, b"N", &two]);
        for length in 0..whole.len() {
            assert!(Message::parse(&whole[..length]).is_err(), "{length}");
        }
        assert!(Message::parse(&[whole.as_slice(), b"x"].concat()).is_err());
        assert_eq!(Message::parse(b"S1234"), Err(Malformed("is of a kind that is not known")));
        assert_eq!(Message::parse(&message(b'I', &[&relation, b"K", &two])).unwrap_err().0, "has something else where a row should begin");
    }
}
