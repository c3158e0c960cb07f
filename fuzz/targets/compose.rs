//! Several Compose files: merged, with what they name, without a panic, a secret in a message, or a tree that grows.
//! Files are separated by lines `--- NAME`; the first two are merged, the others are there to be named.
#![no_main]

use std::collections::BTreeMap;

use bakery_core::compose::{self, OtherFiles, Request, Withheld};
use bakery_core::config::Naming;
use bakery_core::message::Message;
use bakery_core::names::Arch;
use bakery_core::spec::Order;
use libfuzzer_sys::fuzz_target;

const SECRET: &str = "hunter2-of-the-environment";

struct Files<'t>(BTreeMap<String, &'t str>);

impl OtherFiles for Files<'_> {
    fn exists(&self, path: &str) -> bool {
        self.0.contains_key(path)
    }

    fn read(&self, name: &str, path: &str) -> Result<String, Message> {
        self.0.get(path).map(|text| (*text).to_owned()).ok_or_else(|| Message::new(format!("{name} is not there")))
    }
}

fuzz_target!(|text: &str| {
    let mut parts = text.split("\n--- ");
    let first = parts.next().unwrap_or_default();
    let all: Vec<(&str, &str)> = parts.map(|part| part.split_once('\n').unwrap_or((part, ""))).collect();
    let files = Files(all.iter().map(|(name, text)| (format!("/src/{name}"), *text)).collect());
    let vars: BTreeMap<String, String> =
        [("A", "1"), ("GITHUB_TOKEN", SECRET)].map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let withheld = Withheld::of(&vars, &[], "");
    let Ok(mut file) = compose::read("compose.yaml", first) else { return };
    if let Some((name, text)) = all.first() {
        let Ok(later) = compose::read(name, text) else { return };
        file = file.with(later);
    }
    let request = Request {
        vars: &vars,
        withheld: &withheld,
        config: None,
        services: &[],
        root: "/src",
        folder: "/src",
        naming: &Naming { no_push: true, ..Naming::default() },
        arch: Arch::Amd64,
        order: Order::Sequential,
        files: &files,
    };
    match file.resolve(&request) {
        Ok(resolved) => {
            let spec = format!("{:?}", resolved.spec);
            assert!(!spec.contains(SECRET), "{spec}");
            assert!(!format!("{:?}", resolved.notices).contains(SECRET));
        }
        Err(report) => {
            let text = report.to_string();
            assert!(!text.is_empty() && !text.contains(SECRET), "{text}");
        }
    }
});
