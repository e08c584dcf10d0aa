//! The command line: a subcommand, then `--name value` pairs.

use std::net::SocketAddr;

use crate::client::Result;

pub struct Options(Vec<(String, String)>);

impl Options {
    pub fn parse(mut words: impl Iterator<Item = String>) -> Result<Options> {
        let mut pairs = Vec::new();
        while let Some(name) = words.next() {
            let value = words
                .next()
                .ok_or_else(|| format!("{name} needs a value"))?;
            pairs.push((name, value));
        }
        Ok(Options(pairs))
    }

    pub fn text(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|pair| pair.0 == name)
            .map(|pair| pair.1.as_str())
    }

    pub fn number(&self, name: &str, default: u64) -> Result<u64> {
        self.text(name).map_or(Ok(default), |text| {
            text.parse()
                .map_err(|_| format!("{name}: {text} is no number"))
        })
    }

    pub fn address(&self) -> Result<SocketAddr> {
        let port = self.text("--port").ok_or("--port is missing")?;
        let port = port
            .parse()
            .map_err(|_| format!("--port: {port} is no port"))?;
        Ok(SocketAddr::from(([127, 0, 0, 1], port)))
    }
}
