//! How images are named that the files do not name.

use crate::files::{client_with, folder};

#[test]
fn options_environment_and_dotenv_name_images() {
    let compose = "name: shop\nservices: { web: { build: . }, db: { build: db, image: r.test/db } }\n";
    let files = folder(&[
        ("compose.yaml", compose),
        ("Dockerfile", "FROM scratch\n"),
        ("db/Dockerfile", "FROM scratch\n"),
    ]);
    let pushes = |args: &[&str], vars: &[(&str, &str)]| {
        let (code, out, err) = client_with(files.path(), &[&["plan"], args].concat(), vars);
        let lines = out.lines().filter_map(|line| line.trim().strip_prefix("pushes       "));
        (code, lines.map(str::to_owned).collect::<Vec<_>>().join(" "), err)
    };
    let (code, _, err) = pushes(&[], &[]);
    assert!(
        code == 2 && err.contains("the service `web` has no `image`") && err.contains("--registry"),
        "{err}"
    );
    let named =
        pushes(&["--registry", "r.test/team", "--image-tag", "7"], &[("BAKERY_REGISTRY", "other.test")]);
    assert_eq!(named, (0, "r.test/team/shop-web:7 r.test/db:7".to_owned(), String::new()));
    let of_environment = pushes(&[], &[("BAKERY_REGISTRY", "e.test")]);
    assert_eq!(of_environment.1, "e.test/shop-web:latest r.test/db:latest");
    std::fs::write(files.path().join(".env"), "BAKERY_REGISTRY=f.test/x\nCOMPOSE_PROJECT_NAME=bread\n")
        .unwrap();
    assert_eq!(pushes(&[], &[]).1, "f.test/x/bread-web:latest r.test/db:latest");
    std::fs::remove_file(files.path().join(".env")).unwrap();
    let (code, out, err) = pushes(&["--no-push"], &[]);
    assert!(code == 0 && out == "nothing nothing" && err.contains("built, and not pushed"), "{out} {err}");
    for (args, problem) in [
        (["--registry", "https://r.test"], "--registry: `https://r.test` is not a registry with a path"),
        (["--image-tag", "a b"], "--image-tag: `a b` is not a tag"),
    ] {
        let (code, _, err) = pushes(&args, &[]);
        assert!(code == 2 && err.contains(problem), "{err}");
    }
}
