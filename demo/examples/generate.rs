//! Writes a data set into a folder: `generate DIR CUSTOMERS STORES DAYS SEED [CHANGE_SHARE]`, compressed unless `PLAIN` is set.

use std::error::Error;
use std::path::PathBuf;

use pipeline_demo::{Options, generate_to_directory};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut next = |name: &str| arguments.next().ok_or_else(|| format!("argument {name} is missing"));
    let directory = PathBuf::from(next("DIR")?);
    let options = Options {
        customers: next("CUSTOMERS")?.parse()?,
        stores: next("STORES")?.parse()?,
        days: next("DAYS")?.parse()?,
        seed: next("SEED")?.parse()?,
        compress: std::env::var_os("PLAIN").is_none(),
        change_share: next("CHANGE_SHARE").ok().map_or(Ok(0.0), |share| share.parse())?,
        replace: true,
        ..Options::default()
    };
    generate_to_directory(&options, &directory, &|_| {}).await?;
    Ok(())
}
