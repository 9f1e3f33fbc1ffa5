//! `unskew wasm`: the configuration of the proxy-wasm filter.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use unskew::config::Config;
use unskew::gateway::{filter_configuration, filter_discovery};

use super::output::{self, Output};
use super::{Failed, Found};

/// Write the configuration of the proxy-wasm filter
///
/// Reads unskew.toml and its pack, tries the pack, and prints both as the one JSON text that the filter reads in Envoy,
/// Istio, Higress or APISIX. What the filter can't do is refused. With --filter it is the resource that Envoy discovers
/// from a file (ECDS): write it beside the old one and rename it over, and Envoy swaps the pack.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  unskew wasm --config unskew.toml                                       for pluginConfig of a mesh
  unskew wasm --config unskew.toml --filter /usr/lib/unskew/unskew_filter.wasm > ecds.new && mv ecds.new ecds.yaml")]
pub(super) struct Wasm {
    /// The configuration, as gateways read it
    #[arg(long, value_name = "FILE", default_value = "unskew.toml")]
    config: PathBuf,
    /// Print the resource that Envoy discovers, for the filter in this file
    #[arg(long, value_name = "FILE")]
    filter: Option<PathBuf>,
}

impl Wasm {
    /// Writes it.
    pub(super) fn execute(self, output: Output) -> Result<Found, Failed> {
        let config = Config::from_file(&self.config).map_err(|error| Failed::Input(error.to_string()))?;
        let text = match &self.filter {
            Some(filter) => filter_discovery(&config, filter),
            None => filter_configuration(&config).map(|text| text + "\n"),
        };
        let text = text.map_err(|error| Failed::Input(error.to_string()))?;
        match output {
            Output::Text => output::print(&text)?,
            Output::Json => output::print_json(&json!({ "configuration": text }))?,
        }
        Ok(Found::Good)
    }
}
