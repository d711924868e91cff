//! The form of `NAME.slt`: blocks with an empty line between them.
//!
//! ```text
//! # A comment stands before a block.
//! as_of 2025-11-04T06:00:00Z
//!
//! parameter leap_day mar1
//!
//! segment regulars                    a rule of the configuration's [segments], from here on; its keys stand below it
//! where = "orders >= 2"
//! percent = 10
//!
//! given shop.orders with {"status": "delivered"}     rows as JSON, one a line, laid over the common part; what is missing is
//! {"order_id": "a1", "totals": {"total": "10.00"}}   NULL; the types are the contract's
//!
//! model orders                        computes it as a run does and compares with the time before; `changes.orders` has what
//!                                     changed; the script's runner checks that table before + changes = table after
//! model orders fails E-MODEL-TEST
//! text that the error holds
//!
//! query
//! SELECT order_id, total FROM orders ORDER BY order_id
//! ----
//! a1|10.00
//! ```

use pipeline_core::name::TableName;

pub(crate) struct Script {
    pub(crate) blocks: Vec<Block>,
}

pub(crate) struct Block {
    /// Its first line in the file, from 1.
    pub(crate) line: usize,
    pub(crate) step: Step,
}

pub(crate) enum Step {
    AsOf(String),
    Parameter { name: String, value: String },
    Segment { name: String, keys: String },
    Given { table: TableName, common: serde_json::Value, rows: Vec<serde_json::Value> },
    Model { table: TableName },
    Fails { table: TableName, code: String, words: Vec<String> },
    Query { sql: String, expected: Vec<String> },
}

impl Script {
    pub(crate) fn tests(&self, model: &TableName) -> bool {
        self.blocks.iter().any(|block| matches!(&block.step, Step::Model { table } if table == model))
    }
}

pub(crate) fn parse(text: &str) -> Result<Script, String> {
    let lines: Vec<&str> = text.lines().collect();
    let mut blocks = Vec::new();
    let mut at = 0;
    while at < lines.len() {
        if lines[at].trim().is_empty() || lines[at].starts_with('#') {
            at += 1;
            continue;
        }
        let end = (at..lines.len()).find(|line| lines[*line].trim().is_empty()).unwrap_or(lines.len());
        let step = step(lines[at], &lines[at + 1..end]).map_err(|problem| format!("line {}: {problem}", at + 1))?;
        blocks.push(Block { line: at + 1, step });
        at = end;
    }
    Ok(Script { blocks })
}

fn step(head: &str, body: &[&str]) -> Result<Step, String> {
    let (word, rest) = head.split_once(' ').unwrap_or((head, ""));
    let table = |name: &str| name.parse::<TableName>().map_err(|error| format!("{error:?}"));
    match word {
        "as_of" => Ok(Step::AsOf(rest.to_owned())),
        "parameter" => {
            let (name, value) = rest.split_once(' ').ok_or("parameter NAME VALUE")?;
            Ok(Step::Parameter { name: name.to_owned(), value: value.to_owned() })
        }
        "segment" => Ok(Step::Segment { name: rest.to_owned(), keys: body.join("\n") }),
        "given" => {
            let (name, common) = rest.split_once(" with ").unwrap_or((rest, "{}"));
            let json = |text: &str| serde_json::from_str(text).map_err(|error| format!("{text}: {error}"));
            let rows = body.iter().map(|line| json(line)).collect::<Result<_, _>>()?;
            Ok(Step::Given { table: table(name)?, common: json(common)?, rows })
        }
        "model" => match rest.split_once(" fails ") {
            None => Ok(Step::Model { table: table(rest)? }),
            Some((name, code)) => {
                let words = body.iter().map(|line| (*line).to_owned()).collect();
                Ok(Step::Fails { table: table(name)?, code: code.to_owned(), words })
            }
        },
        "query" => {
            let ruler = body.iter().position(|line| *line == "----").ok_or("a query without ----")?;
            let expected = body[ruler + 1..].iter().map(|line| (*line).to_owned()).collect();
            Ok(Step::Query { sql: body[..ruler].join("\n"), expected })
        }
        other => Err(format!("\"{other}\" begins no block")),
    }
}
