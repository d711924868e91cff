//! Writes a data set: `generate DIR|live CUSTOMERS STORES DAYS SEED [CHANGE_SHARE]`.
//!
//! Dump files are compressed unless `PLAIN` is set, and replace those of an earlier run. `live` reads the servers' addresses from
//! `MONGODB_URL` and `POSTGRES_URL`. `ORDERS` sets the number of orders.

use std::env::{self, var_os};
use std::error::Error;
use std::path::PathBuf;

use pipeline_demo::{Options, generate_to_directory, generate_to_servers};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let mut next = |name: &str| arguments.next().ok_or_else(|| format!("argument {name} is missing"));
    let target = next("DIR")?;
    let options = Options {
        customers: next("CUSTOMERS")?.parse()?,
        stores: next("STORES")?.parse()?,
        days: next("DAYS")?.parse()?,
        seed: next("SEED")?.parse()?,
        orders: variable("ORDERS").map(|orders| orders.parse()).transpose()?,
        compress: var_os("PLAIN").is_none(),
        change_share: next("CHANGE_SHARE").ok().map_or(Ok(0.0), |share| share.parse())?,
        replace: true,
        ..Options::default()
    };
    if target == "live" {
        generate_to_servers(&options, &variable("MONGODB_URL").unwrap_or_default(), &variable("POSTGRES_URL").unwrap_or_default(), &|_| {})
            .await?;
    } else {
        generate_to_directory(&options, &PathBuf::from(target), &|_| {}).await?;
    }
    Ok(())
}

fn variable(name: &str) -> Option<String> {
    var_os(name)?.into_string().ok()
}
