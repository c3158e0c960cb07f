//! No circle between the files of a crate: whoever reads one file of a module has an order in which to read the others.
//!
//! A module and the modules below it belong together, and may name each other. Beside each other they may not: of two
//! modules of one parent, with all that is below them, only one names the other, also by way of a third.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, ensure};

use crate::files::crates;
use crate::modules::{ModulePath, Modules};

/// Modules of one parent that may name each other in a circle.
struct Circle {
    krate: &'static str,
    modules: &'static [&'static str],
    reason: &'static str,
}

const CIRCLES: &[Circle] = &[];

/// Which of the modules of one parent name which others, and by which files.
type Graph = BTreeMap<ModulePath, BTreeMap<ModulePath, BTreeSet<String>>>;

fn graphs(modules: &Modules) -> BTreeMap<ModulePath, Graph> {
    let mut graphs: BTreeMap<ModulePath, Graph> = BTreeMap::new();
    for (module, file) in &modules.files {
        for named in modules.named_by(module) {
            let common = module.iter().zip(&named).take_while(|(ours, theirs)| ours == theirs).count();
            // One of them is above the other.
            if common == module.len() || common == named.len() {
                continue;
            }
            let (from, to) = (module[..=common].to_vec(), named[..=common].to_vec());
            let graph = graphs.entry(module[..common].to_vec()).or_default();
            let files = graph.entry(from).or_default().entry(to).or_default();
            files.insert(format!("{file} names {}", named.join("::")));
        }
    }
    graphs
}

/// Every module that can be reached from this one.
fn reached<'a>(graph: &'a Graph, from: &ModulePath) -> BTreeSet<&'a ModulePath> {
    let mut found = BTreeSet::new();
    let mut open: Vec<&ModulePath> = graph.get(from).into_iter().flat_map(BTreeMap::keys).collect();
    while let Some(module) = open.pop() {
        if found.insert(module) {
            open.extend(graph.get(module).into_iter().flat_map(BTreeMap::keys));
        }
    }
    found
}

/// The sets of modules of which each can be reached from each other.
fn circles(graph: &Graph) -> BTreeSet<BTreeSet<&ModulePath>> {
    let reached: BTreeMap<_, _> = graph.keys().map(|module| (module, reached(graph, module))).collect();
    let in_circle = reached.iter().filter(|(module, reached)| reached.contains(*module));
    in_circle
        .map(|(module, others)| {
            others
                .iter()
                .copied()
                .filter(|other| reached.get(other).is_some_and(|it| it.contains(module)))
                .collect()
        })
        .collect()
}

#[test]
fn no_files_name_each_other_in_a_circle() -> Result<()> {
    let mut wrong = Vec::new();
    let mut used = BTreeSet::new();
    for krate in crates()? {
        for graph in graphs(&Modules::read(&krate)?).values() {
            for circle in circles(graph) {
                let names: Vec<String> = circle.iter().map(|module| module.join("::")).collect();
                if let Some(index) = CIRCLES.iter().position(|it| it.krate == krate && it.modules == names) {
                    used.insert(index);
                    continue;
                }
                wrong.push(format!("{krate}: {}", names.join(", ")));
                for (from, edges) in graph.iter().filter(|(from, _)| circle.contains(from)) {
                    let edges = edges.iter().filter(|(to, _)| circle.contains(to));
                    for (to, files) in edges {
                        let files: Vec<&str> = files.iter().map(String::as_str).collect();
                        wrong.push(format!(
                            "  {} -> {}: {}",
                            from.join("::"),
                            to.join("::"),
                            files.join("; ")
                        ));
                    }
                }
            }
        }
    }
    let unused = CIRCLES.iter().enumerate().filter(|(index, _)| !used.contains(index));
    wrong.extend(unused.map(|(_, it)| {
        let names = it.modules.join(", ");
        format!("{}: {names}: on the list ({}) but no circle: remove it from the list", it.krate, it.reason)
    }));
    ensure!(wrong.is_empty(), "modules must not name each other in a circle:\n{}", wrong.join("\n"));
    Ok(())
}
