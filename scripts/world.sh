# shellcheck shell=bash disable=SC2034 # what is set here is used there
# The real parts that the demo, the tests and the benchmarks need, started for one run and ended with it. Source it after lib.sh.

# Not the published name: a server would prefer such an image in its engine to the published one.
OUR_IMAGES=bakery.local/dev

world_begin() { # makes a folder for this run; everything that is recorded in it is ended when the run ends, in whatever way
  mkdir -p "$CACHE"
  RUN=$(mktemp -d "$CACHE/run.XXXXXX")
  export BAKERY_RUN=$RUN
  trap world_end EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM HUP
}

world_end() {
  local code=${1:-$?} file
  trap - EXIT
  trap '' INT TERM HUP # a second Ctrl-C must not leave parts running
  for file in "$RUN"/*.pid; do [ ! -e "$file" ] || end "$file" 20 group; done
  # An engine that ran before this run would keep the images that were pulled from this run's registry. By name: another run may use
  # the same image under another one.
  local format='{{.Repository}}{{if eq .Tag "<none>"}}@{{.Digest}}{{else}}:{{.Tag}}{{end}}'
  [ -z "${REGISTRY_PORT:-}" ] ||
    docker images --digests --format "$format" --filter "reference=127.0.0.1:$REGISTRY_PORT/*/*" |
    sort -u | xargs -r docker rmi >/dev/null 2>&1 || true
  for file in "$RUN"/registry-*; do [ ! -e "$file" ] || "$REPO/scripts/registry" down "${file##*/registry-}" || true; done
  "$REPO/scripts/kubernetes/cluster" down $$ || true
  "$REPO/scripts/aws" down $$ || true
  "$REPO/scripts/emulation" off $$ || true
  "$REPO/scripts/engine" down $$ || true
  rm -rf "$RUN"
  exit "$code"
}

world_programs() { # builds client and server into BIN_DIR, a folder of this run: another clone may build at the same time
  # The ladder has built them already.
  [ -z "${BAKERY_PROGRAMS:-}" ] || { BIN_DIR=$BAKERY_PROGRAMS && return; }
  "$REPO/scripts/need" base cc rust
  export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$CACHE/target}
  BIN_DIR=$RUN/bin
  mkdir -p "$BIN_DIR"
  info "building bakery-client and bakery-server, dev profile (cold 5 min, warm seconds)"
  exec 9>"$CACHE/programs.lock" && flock 9
  (cd "$REPO" && cargo build --locked -q -p bakery-client -p bakery-server 9>&-) >&2
  cp "$CARGO_TARGET_DIR"/debug/bakery-{client,server} "$BIN_DIR/"
  flock -u 9
  exec 9>&-
}

world_up() { # engine, emulation, registry, base image, agent images
  local out
  "$REPO/scripts/need" base skopeo registry
  out=$("$REPO/scripts/engine" up $$) && eval "$out"
  export DOCKER_HOST
  note "emulation is on for this run only, because this machine has one architecture; Bakery emulates only with ALLOW_EMULATION=true"
  "$REPO/scripts/emulation" on $$
  info "a registry at 127.0.0.1 and at $BAKERY_GATEWAY, where containers reach it (1 s)"
  out=$("$REPO/scripts/registry" up world 127.0.0.1 "$BAKERY_GATEWAY") && eval "$out"
  out=$("$REPO/scripts/images" base "127.0.0.1:$REGISTRY_PORT/bakery/base:1") && eval "$out"
  BASE_IMAGE=$BAKERY_GATEWAY:$REGISTRY_PORT/bakery/base:1
  out=$(IMAGE_NAME=$OUR_IMAGES "$REPO/scripts/images" agent "127.0.0.1:$REGISTRY_PORT/bakery/agent:$(version)") && eval "$out"
}

world_cluster() { # after world_up: the cluster that KUBECONFIG names, or one that is started here; sets the variables of test programs
  local out KUBECONFIG=${KUBECONFIG:-} K8S_HOST K8S_NODE K8S_AUDIT_LOG cluster=$REPO/scripts/kubernetes/cluster
  "$REPO/scripts/need" kubectl
  BAKERY_TEST_K8S_AGENT_IMAGE=${BAKERY_TEST_K8S_AGENT_IMAGE:-$BAKERY_GATEWAY:$REGISTRY_PORT/bakery/agent:$(version)}
  if [ -n "$KUBECONFIG" ]; then
    [ -n "${BAKERY_TEST_K8S_HOST:-}" ] || die "KUBECONFIG is set, BAKERY_TEST_K8S_HOST is not" \
      "set it to the address at which pods reach this machine, or unset KUBECONFIG to start a cluster here"
    ip -o -4 address | grep -q " $BAKERY_TEST_K8S_HOST/" ||
      die "BAKERY_TEST_K8S_HOST=$BAKERY_TEST_K8S_HOST is not an address of this machine"
    "$CACHE/bin/kubectl" --request-timeout=10s get --raw /readyz >/dev/null ||
      die "the cluster of KUBECONFIG=$KUBECONFIG does not answer"
    [ ! -f "$KUBECONFIG" ] || KUBECONFIG=$(realpath "$KUBECONFIG") # test programs run in folders of their own
    note "using the cluster of KUBECONFIG; its nodes pull $BAKERY_TEST_K8S_AGENT_IMAGE over plain HTTP"
    cluster=''
  else
    out=$("$cluster" up $$) && eval "$out"
    "$cluster" trust "$BAKERY_GATEWAY:$REGISTRY_PORT"
    BAKERY_TEST_K8S_HOST=$K8S_HOST
  fi
  export BAKERY_TEST_KUBECONFIG=$KUBECONFIG BAKERY_TEST_KUBECTL=$CACHE/bin/kubectl BAKERY_TEST_K8S_HOST BAKERY_TEST_K8S_AGENT_IMAGE
  export BAKERY_TEST_K8S_CLUSTER=$cluster BAKERY_TEST_K8S_AUDIT_LOG=${K8S_AUDIT_LOG:-}
}

world_aws() { # after world_up: an emulator of ECS and Secrets Manager; sets the variables of test programs
  local out
  out=$("$REPO/scripts/aws" up $$) && eval "$out"
  export BAKERY_TEST_AWS_ENDPOINT=$AWS_EMULATOR_ENDPOINT BAKERY_TEST_AWS_HOST=$AWS_EMULATOR_HOST
  export BAKERY_TEST_AWS_ACCOUNT=$AWS_EMULATOR_ACCOUNT BAKERY_TEST_AWS_REGION=$AWS_EMULATOR_REGION
  export BAKERY_TEST_AWS_TASK_KEY=$AWS_EMULATOR_TASK_KEY BAKERY_TEST_AWS_TASK_SECRET=$AWS_EMULATOR_TASK_SECRET
  export BAKERY_TEST_AWS_TASK_TOKEN=$AWS_EMULATOR_TASK_TOKEN
}

world_vars() { # sets the variables of test programs for the parts of world_up
  export BAKERY_TEST_DOCKER_HOST=$DOCKER_HOST BAKERY_TEST_GATEWAY=$BAKERY_GATEWAY BAKERY_TEST_REGISTRY_BIN=$CACHE/bin/docker-registry
  export BAKERY_TEST_AGENT_IMAGE_AMD64=$AGENT_IMAGE_AMD64 BAKERY_TEST_AGENT_IMAGE_ARM64=$AGENT_IMAGE_ARM64
  export BAKERY_TEST_AGENT_INDEX=$AGENT_INDEX BAKERY_TEST_BASE_IMAGE=$BASE_IMAGE BAKERY_TEST_BIN_DIR=$BIN_DIR
  BAKERY_TEST_WEED=$CACHE/bin/weed
  BAKERY_TEST_SKOPEO=$(command -v skopeo)
  export BAKERY_TEST_WEED BAKERY_TEST_SKOPEO
}
