//! Writes a data set: `generate DIR|live CUSTOMERS STORES DAYS SEED [CHANGE_SHARE]`.
//!
//! Dump files are compressed unless `PLAIN` is set, and replace those of an earlier run. `live` reads the servers' addresses from
//! `MONGODB_URL` and `POSTGRES_URL`. `ORDERS` sets the number of orders.

use std::env;
use std::error::Error;
use std::path::PathBuf;

use pipeline_demo::{Options, generate_to_directory, generate_to_servers};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let mut next = |name: &str| {
        arguments
            .next()
            .ok_or_else(|| format!("argument {name} is missing"))
    };
    let target = next("DIR")?;
    let options = Options {
        customers: next("CUSTOMERS")?.parse()?,
        stores: next("STORES")?.parse()?,
        days: next("DAYS")?.parse()?,
        seed: next("SEED")?.parse()?,
        orders: env::var("ORDERS")
            .ok()
            .map(|orders| orders.parse())
            .transpose()?,
        compress: env::var_os("PLAIN").is_none(),
        change_share: next("CHANGE_SHARE")
            .ok()
            .map_or(Ok(0.0), |share| share.parse())?,
        replace: true,
        ..Options::default()
    };
    if target == "live" {
        generate_to_servers(
            &options,
            &env::var("MONGODB_URL")?,
            &env::var("POSTGRES_URL")?,
            &|_| {},
        )
        .await?;
    } else {
        generate_to_directory(&options, &PathBuf::from(target), &|_| {}).await?;
    }
    Ok(())
}
