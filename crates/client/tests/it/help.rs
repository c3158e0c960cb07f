//! What `--help` prints.

use crate::files::{client, folder};

#[test]
fn help_is_complete() {
    let (code, out, _) = client(folder(&[]).path(), &["--help"]);
    assert_eq!(code, 0);
    insta::assert_snapshot!(out, @r"
    Builds container images with Kaniko, each architecture natively, on AWS ECS, Kubernetes or Docker.

    Without a command it builds: it packs the source folder, sends it to the server and shows the log
    until the images are published.

    Usage: bakery-client [OPTIONS]
           bakery-client <COMMAND>

    Commands:
      plan     Show what a build would do, without a server: effective tasks and Kaniko's arguments
      logs     Show a build's log from the beginning and follow it while the build runs; exits with the
               build's exit code
      ps       List builds, newest first
      cancel   Cancel a build
      context  Show what of the source a build sends, without a server
      schema   Print a JSON Schema, with which an editor completes and checks a file
      help     Print this message or the help of the given subcommand(s)

    Options:
          --config <FILE>
              Build config [default without --compose: config.yaml in the working directory, else the
              Compose files of COMPOSE_FILE, else a Compose file there or in a parent folder, with its
              override file]

          --compose <FILE>
              Compose file; may be given several times: later files are merged over earlier ones. With
              --config as well, the config's `global` is the base of every service

          --services <NAMES>
              Services to build, separated by commas [default: all]

          --async
              Build services in parallel instead of one after the other

          --repo <FOLDER>
              Source folder to pack; all paths in the config are relative to it [default: .]

          --registry <HOST/PATH>
              Registry and path below which services without an `image` are pushed, as
              <project>-<service> [default: BAKERY_REGISTRY, else `global.registry`]

          --image-tag <TAG>
              Tag of the images that name none [default: latest]

          --no-push
              Build without pushing images; Kaniko's cache is still written if it is on

          --env-file <FILE>
              File with variables for Compose files and config, in place of the .env in the folder of
              the first Compose file, or without one in the working directory; may be given several
              times: later files win [default: those of COMPOSE_ENV_FILES]

          --allow-env <NAME>
              Let Compose file and config take this variable into the build although it is a secret of
              the environment; may be given several times

          --credentials <SOURCE>
              `docker`: take the logins of `docker login` for the registries that the build pushes to,
              where the config has none

          --trust-dotenv
              Trust .env in the working directory: a token and S3 credentials of the environment also go
              to its CONTROLLER_URL and S3_ENDPOINT, over plain HTTP if its BAKERY_INSECURE or S3_SSL
              says so, and its settings may use variables of the environment

      -h, --help
              Print help (see a summary with '-h')

      -V, --version
              Print version

    Variables (also read from .env in the working directory; the environment takes precedence, and an
    empty variable counts as unset):
      CONTROLLER_URL  URL of bakery-server [default: http://127.0.0.1:3000]
      BAKERY_TOKEN    the operator token; one of the environment is not sent to a CONTROLLER_URL of .env
      BAKERY_INSECURE true: send tokens and credentials to another machine even over plain HTTP
      LOG_FORMAT      simple, plain or json [default: simple]; NO_COLOR turns the colours of simple off
      S3_BUCKET, S3_ENDPOINT, S3_REGION, S3_SSL, S3_ACCESS_KEY, S3_SECRET_KEY, S3_SESSION_TOKEN
                      send the source through this bucket instead of the server

    The log is written to standard output, everything else to standard error.

    -config, -compose, -services, -async and -repo are read with one dash too, as in version 1.0.

    Exit codes: 0 success, 1 the build failed, 2 mistakes in files, options or settings, 3 the server
    cannot be reached or the outcome is unknown, 4 the server or its platform failed, 130 interrupted.
    Ctrl-C cancels the build and waits for its end; a second Ctrl-C exits at once.
    ");
}
