//! What `--help` prints.

use crate::files::{client, folder};

/// Of `--help`, what is before the options of one image, and the rest.
fn help() -> (String, String) {
    let (code, out, _) = client(folder(&[]).path(), &["--help"]);
    assert_eq!(code, 0);
    let (before, rest) = out.split_at(out.find("One image without a file").unwrap());
    (before.to_owned(), rest.to_owned())
}

#[test]
fn help_is_complete() {
    insta::assert_snapshot!(help().0, @r"
    Builds container images with Kaniko, each architecture natively, on AWS ECS, Kubernetes or Docker.

    Without a command it builds: it packs the source folder, sends it to the server and shows the log
    until the images are published.

    Usage: bakery-client [OPTIONS]
           bakery-client [OPTIONS] -t <IMAGE> [PATH]
           bakery-client <COMMAND>

    Commands:
      plan         Show what a build would do, without a server: effective tasks and Kaniko's arguments
      check        Check the Dockerfiles of a build, without a server: mistakes, and what would not be
                   as with Docker. Exits with 2 if there is an error
      logs         Show a build's log from the beginning and follow it while the build runs; exits with
                   the build's exit code
      ps           List builds, newest first
      cancel       Cancel a build
      context      Show what of the source a build sends, without a server
      schema       Print a JSON Schema, with which an editor completes and checks a file
      completions  Print a script with which a shell completes commands and options
      help         Print this message or the help of the given subcommand(s)

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

          --allow <CODES>
              Let findings in Dockerfiles pass, by their codes: BK101,BK102; may be given several times

          --credentials <SOURCE>
              `docker`: take the logins of `docker login` for the registries that the build pushes to,
              where the config has none

          --on <PLATFORM>
              Where all tasks run: ecs, k8s or docker (--platform is the architecture) [default: the
              files', else the server's]

          --cpu <CPU>
              CPU of each task, in cores: 0.5, 500m, 2

          --memory <MEMORY>
              Memory of each task: 2G, 512Mi

          --no-cache
              Neither read nor write Kaniko's cache

          --set <PATH=VALUE>
              Set a value of the files: SERVICE.KEY=VALUE of a service (* for all that are built),
              global.KEY=VALUE of the config, bake[0].KEY=VALUE of its first entry. Dots are between
              nested keys; += adds to a list. May be given several times: later ones win

          --trust-dotenv
              Trust .env in the working directory: a token and S3 credentials of the environment also go
              to its CONTROLLER_URL and S3_ENDPOINT, over plain HTTP if its BAKERY_INSECURE or S3_SSL
              says so, and its settings may use variables of the environment

      -h, --help
              Print help (see a summary with '-h')

      -V, --version
              Print version
    ");
}

#[test]
fn help_has_the_options_of_one_image() {
    insta::assert_snapshot!(help().1, @r"
    One image without a file, as with buildx:
      -t, --tag <IMAGE>
              Build this one image, from options alone: no file is searched for. May be given several
              times: the others are more names of the same image, in any registry. Logins are those of
              `docker login`

      -f, --file <FILE>
              Dockerfile, relative to the working directory; `-` is standard input [default: Dockerfile
              in the context]

          --context <FOLDER>
              Build context: a folder in --repo, relative to the working directory [default: --repo]

          --platform <PLATFORMS>
              Platforms, each built natively: linux/amd64,linux/arm64 [default: DOCKER_DEFAULT_PLATFORM,
              else that of this machine]

          --target <STAGE>
              Stage of the Dockerfile to build

          --build-arg <NAME[=VALUE]>
              Value for an ARG of the Dockerfile; without a value, that of the variable, if it is set

          --secret <SECRET>
              Secret for RUN --mount=type=secret: id=ID,env=NAME, id=ID,src=FILE, or id=ID for the
              variable or the file ID

          --label <NAME=VALUE>
              Label of the image

          --annotation <NAME=VALUE>
              Annotation of the manifest of each image

          --cache-repo <REPOSITORY>
              Keep Kaniko's layers in this repository, and reuse them

          --cache-to <CACHE>
              The same, as buildx has it: type=registry,ref=REPOSITORY; other types have no effect

          --cache-from <CACHE>
              As --cache-to: Kaniko reads its layers where it writes them

      [PATH]
              The same as --context

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

#[test]
fn every_shell_completes_the_options() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let (code, out, err) = client(folder(&[]).path(), &["completions", shell]);
        assert_eq!((code, err.as_str()), (0, ""), "{shell}");
        let option = if shell == "fish" { "-l platform" } else { "--platform" };
        assert!(out.contains(option) && out.contains("completions"), "{shell}: {out}");
        assert!(!out.contains("shm-size"), "{shell}: options that have no effect are not completed");
    }
}
