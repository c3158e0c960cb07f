"""Runs ministack with those differences of ECS on Fargate that our tasks and calls depend on.

usage: fargate.py     reads its settings, and EMULATOR_TASK_KEY, EMULATOR_TASK_SECRET and EMULATOR_TASK_TOKEN, from the environment

- Keys: the emulator generates random ones, which an S3 server that checks signatures would reject.
- Variables of a container: the address of its credentials is relative, AWS_ENDPOINT_URL is not set, a task without a role has no keys.
- Images: an engine's store keeps one architecture for each tag, so of two tasks at once one could run the other's image; a failed pull is
  reported as one; the pull secret and the entry point of the definition apply to tasks too.
- Answers: a running task has no stopCode, a stopped task did not exit with 0, a family means its latest *active* definition.
"""

import os
import threading

from docker.errors import ImageNotFound
from ministack import app
from ministack.services import ecs, imds

register, start, stop, sanitize, resolve = (
    getattr(ecs, name) for name in ("_register_metadata", "_run_docker_container", "_mark_task_stopped", "_sanitize", "_resolve_td_key")
)
credentials = imds._ecs_task_credentials_doc
store = threading.Lock()


def registered(task_arn, cluster_arn, td, cdef, launch_type, env, *rest):
    endpoint = env.get("AWS_ENDPOINT_URL")
    token = register(task_arn, cluster_arn, td, cdef, launch_type, env, *rest)
    del env["AWS_ENDPOINT_URL"], env["AWS_CONTAINER_AUTHORIZATION_TOKEN"]
    if endpoint:
        env["AWS_ENDPOINT_URL"] = endpoint
    address = env.pop("AWS_CONTAINER_CREDENTIALS_FULL_URI")
    if td.get("taskRoleArn"):
        env["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"] = address[address.index("/v2/") :]
    region = task_arn.split(":")[3]
    env.update(AWS_EXECUTION_ENV="AWS_ECS_FARGATE", AWS_REGION=region, AWS_DEFAULT_REGION=region)
    return token


def started(client, cdef, run, **rest):
    login = ecs._resolve_repository_credentials(cdef)
    platform = run.get("platform") or "linux/amd64"
    try:
        image = resolved(client, cdef["image"], platform, login)
    except Exception as error:
        raise ecs._ImagePullError(str(error)) from error
    if cdef.get("entryPoint"):
        run["entrypoint"] = cdef["entryPoint"]
    return start(client, {**cdef, "image": image}, run, **rest)


def resolved(client, image, platform, login):
    """Returns the id of the image for a platform: unlike the tag, it always means the same image."""
    with store:
        if not login:
            try:
                found = client.images.get(image)
                if found.attrs["Architecture"] == platform.removeprefix("linux/"):
                    return found.id
            except ImageNotFound:
                pass
        return client.images.pull(image, platform=platform, auth_config=login).id


def task_credentials():
    key, secret, token = (os.environ[f"EMULATOR_TASK_{name}"] for name in ("KEY", "SECRET", "TOKEN"))
    return credentials() | {"AccessKeyId": key, "SecretAccessKey": secret, "Token": token}


def stopped(arn, task, reason, code, exit_code=None):
    if code == "UserInitiated":
        exit_code = 137
    if code == "EssentialContainerExited":
        reason = "Essential container in task exited"
    return stop(arn, task, reason, code, exit_code=exit_code)


def sanitized(record):
    clean = sanitize(record)
    if isinstance(clean, dict):
        for name in ("stopCode", "stoppedReason"):
            if clean.get(name) == "":
                del clean[name]
    return clean


def active(reference):
    if not reference or ":" in reference:
        return resolve(reference)
    found = [d for d in ecs._task_defs.values() if d["family"] == reference and d["status"] == "ACTIVE"]
    return f"{reference}:{max(d['revision'] for d in found)}" if found else None


ecs._register_metadata, ecs._run_docker_container, ecs._mark_task_stopped = registered, started, stopped
ecs._sanitize, ecs._resolve_td_key, imds._ecs_task_credentials_doc = sanitized, active, task_credentials
app.main()
