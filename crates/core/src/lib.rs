//! The domain: configuration, plan, lifecycle, and what the programs send to each other.
//!
//! Everything here is a pure value or a pure function: no async, no sockets, no files and no clock. The three programs
//! share these types.
//!
//! From what people write to what is built:
//!
//! ```
//! use std::collections::BTreeMap;
//! use bakery_core::{compose, config, names::Arch, plan, spec::Order};
//!
//! let text = "global: { arch: amd64, kaniko: { destination: reg.test/shop/cart:7 } }";
//! let config = config::read("config.yaml", text)?;
//! // A config.yaml alone:
//! let alone = config.clone().resolve(Order::Sequential, &config::Naming::default())?;
//! assert_eq!(alone.plan.targets[0].name, "reg.test/shop/cart:7");
//! // A Compose file, here with the config's `global` as its base:
//! let file = compose::read("compose.yaml", "services: { web: { build: ./web, image: reg.test/shop/web } }")?;
//! let dotenv: BTreeMap<String, String> = compose::dotenv(".env", "TAG=7", &BTreeMap::new())?;
//! let services = file.resolve(&compose::Request {
//!     withheld: &compose::Withheld::default(),
//!     naming: &config::Naming::default(),
//!     vars: &dotenv, // the process environment over it: `vars::Layered`
//!     config: Some(&config),
//!     services: &[],
//!     root: "/work/shop",   // --repo, absolute
//!     folder: "/work/shop", // of the Compose file, absolute
//!     arch: Arch::Amd64,
//!     order: Order::Parallel,
//!     files: &(), // no other files: what `extends` and `include` name
//! })?;
//! assert_eq!(services.plan.targets[0].name, "web");
//! // The spec is what is sent; the receiver does not trust it and plans it again.
//! assert_eq!(plan::plan(&services.spec), Ok(services.plan));
//! # Ok::<(), bakery_core::report::Report>(())
//! ```
//!
//! Each step's error is a [`report::Report`]: all mistakes, each with its location and a hint.

#![deny(missing_docs)]

pub mod buildx;
pub mod capabilities;
pub mod change;
pub mod compose;
pub mod config;
pub mod decode;
pub mod dockerfile;
pub mod hex;
pub mod host;
pub mod image;
pub mod interpolate;
pub mod kaniko;
pub mod lifecycle;
pub mod limits;
pub mod mask;
pub mod message;
pub mod names;
pub mod path;
pub mod plan;
pub mod preflight;
pub mod reason;
pub mod report;
pub mod rules;
pub mod secret;
pub mod spec;
pub mod system_folders;
pub mod terminal;
pub mod units;
pub mod vars;
pub mod wire;
pub mod yaml;
