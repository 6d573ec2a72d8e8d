"""docker-compose.yml agrees with the Compose specification, the settings and the local stack."""

import json
import re
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema.validators import validator_for

from app.alerting.files import rule_files
from app.alerting.recordings import JOB
from app.stack.kafka import SETTINGS, Broker
from app.stack.redis_server import RedisServer
from config.settings import Settings, load_settings

ROOT = Path(__file__).parents[1]
# In a container the broker serves two networks, its own and the machine's.
NETWORK_SETTINGS = {"listener.security.protocol.map"}
GIVEN = {"LIFECYCLE_TOKEN": "chosen"}


def read(path: str) -> Any:
    return yaml.safe_load((ROOT / path).read_text())


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    found: dict[str, Any] = read("docker-compose.yml")["services"]
    return found


def interpolated(value: str) -> str:
    return re.sub(r"\$\{(\w+)[^}]*\}", lambda match: GIVEN[match[1]], value)


def host(address: str) -> str:
    return address.rpartition("/")[2].rpartition(":")[0]


def published(service: dict[str, Any]) -> list[list[str]]:
    """Each published port as [address, port on the machine, port in the container]."""
    return [port.rsplit(":", 2) for port in service.get("ports", ())]


def lifecycle_environments(services: dict[str, Any]) -> dict[str, dict[str, str]]:
    return {
        name: {key: interpolated(value) for key, value in service["environment"].items()}
        for name, service in services.items()
        if "build" in service
    }


def test_the_file_is_what_the_compose_specification_says() -> None:
    # Read as a file: the checker's own command wants a newer click than Faust allows.
    path = "check_jsonschema/builtin_schemas/vendor/compose-spec.json"
    schema = json.loads(Path(str(distribution("check-jsonschema").locate_file(path))).read_text())
    validator = validator_for(schema)(schema)
    assert [error.message for error in validator.iter_errors(read("docker-compose.yml"))] == []


def test_every_lifecycle_variable_is_a_setting_with_a_value_it_takes(
    services: dict[str, Any],
) -> None:
    environments = lifecycle_environments(services)
    assert set(environments) == {"topics-init", "worker"}
    for environment in environments.values():
        # Raises on unknown variables, ill values and contradictions (a token beyond loopback).
        load_settings(environment)
    for variable in re.findall(r"^ENV (LIFECYCLE_\w+)=", (ROOT / "Dockerfile").read_text(), re.M):
        load_settings({variable: "/var/lib/lifecycle"})


def test_workers_find_the_brokers_and_redis_by_service_name_and_listening_port(
    services: dict[str, Any],
) -> None:
    listeners = services["kafka"]["environment"]["KAFKA_LISTENERS"]
    advertised = services["kafka"]["environment"]["KAFKA_ADVERTISED_LISTENERS"].split(",")
    for environment in lifecycle_environments(services).values():
        settings = load_settings(environment)
        service, _, port = settings.broker.partition(":")
        assert service in services
        assert f"PLAINTEXT://:{port}" in listeners.split(",")
        assert f"PLAINTEXT://{settings.broker}" in advertised
        assert settings.redis == f"redis://redis:{RedisServer.port}/0"
    assert "redis" in services


def test_published_ports_are_the_settings_defaults_and_on_loopback(
    services: dict[str, Any],
) -> None:
    settings = Settings()
    assert {address for one in services.values() for address, _, _ in published(one)} == {
        "127.0.0.1"
    }
    [[_, broker, _]] = published(services["kafka"])
    assert settings.broker == f"127.0.0.1:{broker}" == f"127.0.0.1:{Broker.port}"
    advertised = services["kafka"]["environment"]["KAFKA_ADVERTISED_LISTENERS"]
    assert f"HOST://{settings.broker}" in advertised.split(",")
    [[_, redis, _]] = published(services["redis"])
    assert settings.redis == f"redis://127.0.0.1:{redis}/0"
    [[_, first_to_last, inside]] = published(services["worker"])
    first, last = map(int, first_to_last.split("-"))
    assert first == int(inside) == settings.http_port
    assert last - first + 1 == services["worker"]["deploy"]["replicas"] == 2
    assert f"EXPOSE {settings.http_port}\n" in (ROOT / "Dockerfile").read_text()
    assert f":{settings.http_port}/healthz" in services["worker"]["healthcheck"]["test"][-1]


def test_the_broker_is_set_as_that_of_the_local_stack(services: dict[str, Any]) -> None:
    environment = services["kafka"]["environment"]
    expected = {
        "KAFKA_" + name.upper().replace(".", "_"): value
        for name, value in SETTINGS.items()
        if name not in NETWORK_SETTINGS
    }
    assert expected == {name: environment.get(name) for name in expected}


def test_every_mounted_file_exists_and_every_volume_is_declared(services: dict[str, Any]) -> None:
    declared = set(read("docker-compose.yml")["volumes"])
    used = set()
    for service in services.values():
        for mount in service.get("volumes", ()):
            source = mount.split(":")[0]
            if source.startswith("."):
                assert any(path.is_file() for path in (ROOT / source).rglob("*")), source
            else:
                used.add(source)
    assert used == declared


def test_services_wait_for_services_that_exist_and_can_tell(services: dict[str, Any]) -> None:
    for service in services.values():
        for name, wait in service.get("depends_on", {}).items():
            if wait["condition"] == "service_healthy":
                assert "healthcheck" in services[name]
            else:
                assert wait["condition"] == "service_completed_successfully"
                assert services[name]["restart"] == "no"


def test_prometheus_scrapes_every_worker_and_only_services_that_exist(
    services: dict[str, Any],
) -> None:
    mounts = [mount.split(":")[:2] for mount in services["prometheus"]["volumes"]]
    assert ["./config/prometheus", "/etc/prometheus"] in mounts
    jobs = {
        job["job_name"]: job for job in read("config/prometheus/prometheus.yml")["scrape_configs"]
    }
    [discovery] = jobs[JOB]["dns_sd_configs"]
    assert discovery == discovery | {"names": ["worker"], "port": Settings().http_port}
    for job in jobs.values():
        names = {name for found in job.get("dns_sd_configs", ()) for name in found["names"]}
        for group in job.get("static_configs", ()):
            names |= {host(target) for target in group["targets"]} - {"127.0.0.1"}
        assert names <= services.keys()


def test_prometheus_has_the_rules_and_tells_an_alertmanager_that_has_its_routes(
    services: dict[str, Any],
) -> None:
    given = read("config/prometheus/prometheus.yml")
    assert set(given["rule_files"]) == set(rule_files())
    for name, text in rule_files().items():
        # Beside prometheus.yml, so that they are in the same mount.
        assert (ROOT / "config/prometheus" / name).read_text() == text
    [found] = given["alerting"]["alertmanagers"]
    [target] = found["static_configs"][0]["targets"]
    service = services[host(target)]
    mounts = dict(mount.split(":")[:2] for mount in service["volumes"])
    file = option(service, "config.file")
    assert file == f"{mounts['./config/prometheus']}/alertmanager.yml"
    assert option(service, "storage.path") == mounts["alertmanager-data"]
    assert target.endswith(f":{published(service)[0][2]}")


def option(service: dict[str, Any], name: str) -> str:
    [found] = [word for word in service["command"] if word.startswith(f"--{name}=")]
    return str(found.partition("=")[2])


def test_prometheus_keeps_as_long_as_the_rules_look_back(services: dict[str, Any]) -> None:
    # Without an option it keeps fifteen days.
    assert "command" not in services["prometheus"]
    offsets = re.findall(r"offset ([0-9]+)d", "".join(rule_files().values()))
    assert offsets
    assert max(map(int, offsets)) < 15


def test_grafana_reads_from_prometheus_and_finds_its_dashboards_in_the_mount(
    services: dict[str, Any],
) -> None:
    provisioning = "config/grafana/provisioning"
    mounts = dict(mount.split(":")[:2] for mount in services["grafana"]["volumes"])
    inside = mounts[f"./{provisioning}"]
    [source] = read(f"{provisioning}/datasources/prometheus.yml")["datasources"]
    assert host(source["url"]) == "prometheus"
    assert source["url"].endswith(f":{published(services['prometheus'])[0][2]}")
    [provider] = read(f"{provisioning}/dashboards/lifecycle.yml")["providers"]
    assert provider["options"]["path"] == f"{inside}/dashboards"


def test_the_image_holds_every_package_and_runs_as_nobody_special() -> None:
    text = (ROOT / "Dockerfile").read_text()
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    for package in ("app", "agents", "models", "config"):
        assert f"COPY {package} ./{package}\n" in text
        assert f"!{package}" in ignored
    assert re.findall(r"^USER (\w+)", text, re.M) == ["lifecycle"]
    assert 'ENTRYPOINT ["lifecycle"]' in text
