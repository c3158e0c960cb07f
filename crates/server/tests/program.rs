//! The program itself: its output and its exit codes before it serves anything.

use std::fs::{File, Permissions};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Output};

use rustix::process::getuid;
use tempfile::TempDir;

/// Runs the program in an empty folder with nothing but these variables.
fn run(folder: &Path, args: &[&str], vars: &[(&str, &str)]) -> std::io::Result<Output> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bakery-server"));
    command.current_dir(folder).env_clear().env("HOME", folder).args(args);
    command.envs(vars.iter().copied()).output()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// No engine is there, whatever the machine has.
const NO_ENGINE: (&str, &str) = ("DOCKER_HOST", "unix:///nonexistent/docker.sock");

/// An agent image that cannot be looked up, whatever the machine reaches.
const NO_REGISTRY: (&str, &str) = ("AGENT_IMAGE", "127.0.0.1:1/bakery-agent:1");

#[test]
fn all_mistakes_in_the_settings_are_reported_at_once_with_exit_code_2() {
    let folder = TempDir::new().unwrap();
    let file = "MAX_RUNS=many\nBUILD_TASK_TIMEOUT=ten\n= nameless\nALLOW_EMULATION=\n";
    std::fs::write(folder.path().join(".env"), file).unwrap();
    let vars = [
        ("BAKERY_LISTEN", "0.0.0.0:3000"),
        ("BUILD_TASK_TIMEOUT", "soon"),
        ("RUST_LOG", "bakery_server=loud"),
    ];
    for args in [&[][..], &["check"]] {
        let output = run(folder.path(), args, &vars).unwrap();
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        for word in [
            ".env:3:1: ",
            "BAKERY_TOKEN",
            "BAKERY_OPEN",
            "MAX_RUNS",
            "BUILD_TASK_TIMEOUT: `soon`",
            "RUST_LOG: `bakery_server=loud`",
            "hint: ",
        ] {
            assert!(said.contains(word), "{word}: {said}");
        }
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn probe_01_a_variable_that_is_not_utf8_is_a_mistake_and_not_unset() {
    use std::os::unix::ffi::OsStrExt as _;
    let folder = TempDir::new().unwrap();
    let spoilt = std::ffi::OsStr::from_bytes(b"fl\xf6ur-water-salt-and-time");
    for args in [&[][..], &["check"]] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bakery-server"));
        command.current_dir(folder.path()).env_clear().env("HOME", folder.path()).args(args);
        // A name that is nobody's may have any value.
        command.envs([NO_ENGINE, NO_REGISTRY]).env("BAKERY_TOKEN", spoilt).env("GREETING", spoilt);
        let output = command.output().unwrap();
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        let hint = "  hint: set it to a text in UTF-8, or leave it unset";
        assert_eq!(said, format!("BAKERY_TOKEN: not UTF-8\n{hint}\n"));
    }
}

#[test]
fn without_any_platform_the_server_does_not_start() {
    let folder = TempDir::new().unwrap();
    let data = folder.path().join("data").display().to_string();
    let vars = [NO_ENGINE, ("BAKERY_LISTEN", "127.0.0.1:0"), ("BAKERY_DATA_DIR", &data)];
    let output = run(folder.path(), &[], &vars).unwrap();
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(4), "{said}");
    assert!(
        said.contains("error: DOCKER_HOST=unix:///nonexistent/docker.sock: no Docker engine answers there")
            && said.contains("hint: start it"),
        "{said}"
    );
}

#[test]
fn check_shows_what_counts_and_no_secret() {
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join(".env"), "MAX_RUNS=3\nBAKERY_TOKEN=proofed-overnight\n").unwrap();
    let vars = [NO_ENGINE, NO_REGISTRY, ("BAKERY_LISTEN", "127.0.0.1:0"), ("MAX_RUNS", "7")];
    let output = run(folder.path(), &["check"], &vars).unwrap();
    let shown = text(&output.stdout);
    assert_eq!(output.status.code(), Some(4), "{shown}");
    assert!(shown.contains("MAX_RUNS=7\n") && shown.contains("BAKERY_TOKEN=***\n"), "{shown}");
    assert!(
        shown
            .contains("MISSING  DOCKER_HOST=unix:///nonexistent/docker.sock: no Docker engine answers there"),
        "{shown}"
    );
    assert!(
        shown.contains("WARNING  agent image 127.0.0.1:1/bakery-agent:1: the engine has none"),
        "{shown}"
    );
    // The system's folder for root, else the user's.
    assert!(shown.contains("BAKERY_DATA_DIR=/") && shown.contains(" (not set; default: /var/lib"), "{shown}");
    assert!(!shown.contains("proofed") && !text(&output.stderr).contains("proofed"));
    // It tries, and leaves nothing.
    assert!(!folder.path().join(".local").exists());
}

#[test]
fn check_with_a_closed_pipe_ends_as_usual() {
    let folder = TempDir::new().unwrap();
    let (reader, pipe) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = Command::new(env!("CARGO_BIN_EXE_bakery-server"));
    command.current_dir(folder.path()).env_clear().env("HOME", folder.path()).arg("check").stdout(pipe);
    command.envs([NO_ENGINE, NO_REGISTRY, ("BAKERY_LISTEN", "127.0.0.1:0")]);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(4), "{}", text(&output.stderr));
}

#[test]
fn start_and_check_refuse_the_same_settings_with_the_same_text() {
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("data"), "no folder").unwrap();
    let data = folder.path().join("data").display().to_string();
    let vars = [
        NO_ENGINE,
        ("BAKERY_LISTEN", "127.0.0.1:0"),
        ("BAKERY_DATA_DIR", &data),
        ("BAKERY_DATA_KEY", "crumbs"),
        ("INSECURE_REGISTRIES", "http://reg.test"),
        ("ECS_CLUSTER", "builds"),
        ("K8S_NAMESPACE", "builds"),
    ];
    let said = [&[][..], &["check"]].map(|args| {
        let output = run(folder.path(), args, &vars).unwrap();
        assert_eq!(output.status.code(), Some(2));
        text(&output.stderr)
    });
    for word in [
        "data is not a folder",
        "BAKERY_DATA_KEY",
        "`http://reg.test`",
        "AWS_REGION: required because ECS_CLUSTER is set",
        "CONTROLLER_URL: required because agents on ECS and Kubernetes call the server at this URL",
    ] {
        assert!(said[0].contains(word), "{word}: {}", said[0]);
    }
    assert!(!said[0].contains("crumbs"));
    assert_eq!(said[0], said[1]);
}

#[test]
fn check_finds_what_a_start_cannot_use_with_the_same_text() {
    let folder = TempDir::new().unwrap();
    let data = folder.path().join("data");
    let shown = data.display().to_string();
    let vars = [NO_ENGINE, NO_REGISTRY, ("BAKERY_LISTEN", "127.0.0.1:0"), ("BAKERY_DATA_DIR", &*shown)];
    let said = |args: &[&str]| {
        let output = run(folder.path(), args, &vars).unwrap();
        assert_eq!(output.status.code(), Some(4));
        let all = text(&output.stdout) + &text(&output.stderr);
        all.lines().map(str::trim_start).collect::<Vec<_>>().join("\n")
    };
    assert!(said(&[]).contains("error: DOCKER_HOST"), "the ledger was made before");
    std::fs::remove_file(data.join("data.key")).unwrap();
    let key = format!("the data folder {shown} was sealed with another data key\nhint: set BAKERY_DATA_KEY");
    assert!(said(&["check"]).contains(&format!("MISSING  {key}")), "{}", said(&["check"]));
    assert!(said(&[]).contains(&format!("error: {key}")));
    for end in ["-wal", "-shm"] {
        let _ = std::fs::remove_file(data.join(format!("ledger.sqlite{end}")));
    }
    std::fs::write(data.join("ledger.sqlite"), "flour and water\n".repeat(400)).unwrap();
    let file =
        format!("{shown}/ledger.sqlite cannot be read: file is not a database\nhint: put the file back");
    assert!(said(&["check"]).contains(&format!("MISSING  {file}")), "{}", said(&["check"]));
    assert!(said(&[]).contains(&format!("error: {file}")), "{}", said(&[]));
}

#[test]
fn check_beside_a_running_server_skips_its_address_and_its_lock() {
    let folder = TempDir::new().unwrap();
    let data = folder.path().join("data").display().to_string();
    std::fs::create_dir(&data).unwrap();
    let lock = std::fs::File::create(folder.path().join("data/lock")).unwrap();
    lock.lock().unwrap();
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap().to_string();
    // One program that answers, then a server.
    let headers = ["x-other: 1".to_owned(), format!("{}: 1", bakery_core::wire::PROTOCOL_HEADER)];
    let server = std::thread::spawn(move || {
        for header in headers {
            let mut caller = socket.accept().unwrap().0;
            let mut head = [0; 4096];
            let got = std::io::Read::read(&mut caller, &mut head).unwrap();
            assert!(head[..got].starts_with(b"GET /livez HTTP/1.1"));
            let answer =
                format!("HTTP/1.1 200 OK\r\n{header}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            std::io::Write::write_all(&mut caller, answer.as_bytes()).unwrap();
        }
        socket
    });
    let vars = [NO_ENGINE, NO_REGISTRY, ("BAKERY_LISTEN", &*address), ("BAKERY_DATA_DIR", &*data)];
    let check = || text(&run(folder.path(), &["check"], &vars).unwrap().stdout);
    let other = check();
    assert!(
        other.contains("MISSING  BAKERY_LISTEN") && other.contains("MISSING  the data folder"),
        "{other}"
    );
    let beside = check();
    for line in [&address, &format!("data folder {data}")] {
        assert!(
            beside.contains(&format!("ok       {line}: in use by a running bakery-server\n")),
            "{beside}"
        );
    }
    drop(server.join().unwrap());
}

#[test]
fn it_knows_its_version() {
    let folder = TempDir::new().unwrap();
    let output = run(folder.path(), &["--version"], &[]).unwrap();
    assert_eq!(text(&output.stdout), concat!("bakery-server ", env!("BAKERY_VERSION"), "\n"));
}

#[test]
fn health_needs_only_the_address_and_reports_why_it_is_not_ready() {
    let folder = TempDir::new().unwrap();
    let health = |listen: &str| {
        let vars = [("BAKERY_LISTEN", listen), ("MAX_RUNS", "many"), ("HTTP_PROXY", "http://127.0.0.1:1")];
        let output = run(folder.path(), &["health"], &vars).unwrap();
        assert!(output.stdout.is_empty());
        (output.status.code(), text(&output.stderr))
    };
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let everywhere = format!("0.0.0.0:{}", address.port());
    // Somebody who gives the next two callers these answers.
    let problem =
        r#"{"type":"t","title":"t","status":503,"detail":"the platform k8s does not answer","hint":"wait"}"#;
    let answers = [("200 OK", "ready\n"), ("503 Service Unavailable", problem)];
    let server = std::thread::spawn(move || {
        for (status, body) in answers {
            let mut caller = socket.accept().unwrap().0;
            let mut head = [0; 4096];
            let got = std::io::Read::read(&mut caller, &mut head).unwrap();
            assert!(head[..got].starts_with(b"GET /readyz HTTP/1.1"));
            let length = body.len();
            let answer =
                format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}");
            std::io::Write::write_all(&mut caller, answer.as_bytes()).unwrap();
        }
    });
    assert_eq!(health(&everywhere), (Some(0), String::new()));
    let said = (Some(4), "not ready: the platform k8s does not answer\nhint: wait\n".to_owned());
    assert_eq!(health(&everywhere), said);
    server.join().unwrap();
    let (code, said) = health(&everywhere);
    assert!(code == Some(4) && said.contains("Connection refused"), "{said}");
    let (code, said) = health("here");
    assert!(
        code == Some(2) && said.contains("BAKERY_LISTEN: `here`") && !said.contains("MAX_RUNS"),
        "{said}"
    );
}

#[test]
fn a_log_in_json_is_json_to_the_last_line() {
    let folder = TempDir::new().unwrap();
    let data = folder.path().join("data").display().to_string();
    let vars = [
        NO_ENGINE,
        ("BAKERY_LISTEN", "127.0.0.1:0"),
        ("BAKERY_DATA_DIR", &data),
        ("BAKERY_LOG_FORMAT", "json"),
        ("RUST_LOG", "debug"),
    ];
    let output = run(folder.path(), &[], &vars).unwrap();
    assert_eq!(output.status.code(), Some(4));
    let said = text(&output.stderr);
    let lines: Vec<serde_json::Value> =
        said.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"))).collect();
    for line in &lines {
        for key in ["ts", "level", "target", "message"] {
            assert!(line[key].is_string(), "{key}: {line}");
        }
    }
    let last = lines.last().unwrap();
    assert_eq!(last["level"], "error");
    assert!(
        last["error"].as_str().unwrap().starts_with("DOCKER_HOST=unix:///nonexistent/docker.sock: "),
        "{last}"
    );

    let mut quiet = vars;
    quiet[4] = ("RUST_LOG", "off");
    let output = run(folder.path(), &[], &quiet).unwrap();
    let said = text(&output.stderr);
    let alone: serde_json::Value = serde_json::from_str(&said).unwrap_or_else(|_| panic!("{said}"));
    for key in ["level", "target", "message", "error"] {
        assert_eq!(alone[key], last[key], "{key}: {said}");
    }
    assert!(alone["ts"].is_string(), "{said}");
}

/// Ends its process when it is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn probe_24_the_process_is_not_dumpable() {
    // The kernel gives the files of such a process to root. So this one must belong to somebody else, and is opened here:
    // that user may not reach its folder.
    let user = if getuid().is_root() { 12345 } else { getuid().as_raw() };
    let start = |program: &str, arguments: &[&str], vars: &[(&str, &str)]| {
        let program = File::open(program).unwrap();
        let mut started = Command::new(format!("/proc/self/fd/{}", program.as_raw_fd()));
        started.args(arguments).current_dir("/").env_clear().envs(vars.iter().copied());
        if getuid().is_root() {
            started.uid(user);
        }
        Running(started.spawn().unwrap())
    };
    let owner =
        |running: &Running| std::fs::metadata(format!("/proc/{}/environ", running.0.id())).unwrap().uid();
    let other = start("/bin/sleep", &["600"], &[]);
    assert_eq!(owner(&other), user, "a process that does nothing about it");

    let folder = TempDir::new().unwrap();
    std::fs::set_permissions(folder.path(), Permissions::from_mode(0o777)).unwrap();
    // An engine that accepts and never answers.
    let socket = folder.path().join("docker.sock");
    let engine = UnixListener::bind(&socket).unwrap();
    std::fs::set_permissions(&socket, Permissions::from_mode(0o777)).unwrap();
    let (home, data) =
        (folder.path().display().to_string(), folder.path().join("data").display().to_string());
    let engine_url = format!("unix://{}", socket.display());
    let vars = [
        ("HOME", &*home),
        ("DOCKER_HOST", &engine_url),
        ("BAKERY_LISTEN", "127.0.0.1:0"),
        ("BAKERY_DATA_DIR", &data),
    ];
    let server = start(env!("CARGO_BIN_EXE_bakery-server"), &[], &vars);
    let _connection = engine.accept().unwrap();
    assert_ne!(owner(&server), user, "its memory and environment are readable by its user");
}
