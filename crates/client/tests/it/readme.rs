//! What the README says that the program prints.

use std::path::Path;

use crate::files::client;

#[test]
fn the_example_becomes_the_plan_that_the_readme_prints() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let readme = std::fs::read_to_string(root.join("README.md")).unwrap();
    let call = "bakery-client plan --config client-config.yaml.example";
    let (_, below) = readme.split_once(&format!("```sh\n{call}\n```\n")).expect("the call");
    let (_, printed) = below.split_once("```text\n").expect("what it prints");
    let (printed, _) = printed.split_once("```").expect("an end");
    let args: Vec<&str> = call.split(' ').skip(1).collect();
    let (code, out, err) = client(&root, &args);
    assert_eq!((code, out.as_str()), (0, printed), "{err}");
}
