from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if sys.platform != "linux":
    pytest.skip("scripts/services reads the processes of Linux", allow_module_level=True)

from servers.command_line import SERVICES, main
from servers.control import ATTEMPTS, Control, free_port
from servers.folders import usual_folder
from servers.processes import Patience, beginning, is_running
from servers.redis import REDIS
from servers.service import Server, Service, ServiceError, Step, Tool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

ROOT = Path(__file__).resolve().parents[2]

#: Tells its pid to whoever connects.
FAKE = """
import os, socket, sys
with socket.create_server(("127.0.0.1", int(sys.argv[1]))) as server:
    while True:
        connection, _ = server.accept()
        connection.sendall(str(os.getpid()).encode())
        connection.close()
"""
IGNORES_SIGTERM = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n{FAKE}"
ENDS_AT_ONCE = "import sys; sys.exit('no such option')"


def tells_its_pid(server: Server, *, timeout_s: float = 1) -> bool:
    with socket.create_connection(("127.0.0.1", server.port), timeout=timeout_s) as connection:
        return str(server.pid).encode() == connection.recv(100)


def fake(
    name: str = "fake",
    code: str = FAKE,
    *,
    is_ready: Callable[[Server], bool] = tells_its_pid,
    program: str = sys.executable,
) -> Service:
    return Service(
        name=name,
        packages=(f"{name}-server",),
        program=program,
        arguments=lambda _, port: ["-I", "-S", "-c", code, str(port)],
        is_ready=is_ready,
        variable=f"TEST_{name.upper()}_URL",
        url=f"{name}://127.0.0.1:{{}}".format,
        account="root",  # the folders of pytest are not for others, the Python of the tests may not be either
    )


class Machine:
    """Makes controls for one folder, and ends at the end of the test what they started."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._made: list[tuple[Control, list[Service]]] = []

    def control(self, *services: Service, **options: object) -> Control:
        control = Control(self.folder, **options)  # type: ignore[arg-type]  # of any of its arguments
        self._made.append((control, list(services)))
        return control

    def close(self) -> None:
        for control, services in self._made:
            for service in services:
                control.stop(service)


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    machine = Machine(tmp_path / "services")
    yield machine
    machine.close()


@pytest.fixture
def stranger() -> Iterator[Server]:
    """A server that nobody started here."""
    port = free_port()
    with subprocess.Popen([sys.executable, "-I", "-S", "-c", FAKE, str(port)]) as process:
        server = Server(process.pid, str(beginning(process.pid)), port)
        assert Patience().wait(lambda: answers(server), within_s=30)
        yield server
        process.kill()


def kill(server: Server) -> None:
    os.kill(server.pid, signal.SIGKILL)
    assert Patience().wait(lambda: not is_running(server), within_s=30)


def answers(server: Server) -> bool:
    try:
        return tells_its_pid(server)
    except OSError:
        return False


def remember(folder: Path, service: Service, text: str) -> None:
    (folder / service.name).mkdir(parents=True)
    (folder / service.name / "server.json").write_text(text, encoding="utf-8")


class Clock:
    """Time that passes only by sleeping."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    def __call__(self) -> float:
        return sum(self.slept)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


@pytest.mark.parametrize("act", ["start", "stop"])
def test_a_folder_that_holds_other_things_is_left_alone(machine: Machine, tmp_path: Path, act: str) -> None:
    """Whoever names a folder of a project by mistake loses nothing."""
    service = fake()
    precious = tmp_path / "services" / service.name / "precious.txt"
    precious.parent.mkdir(parents=True, mode=0o700)
    precious.parent.parent.chmod(0o711)
    precious.write_text("mine")
    control = machine.control()

    with pytest.raises(ServiceError, match="holds what was not made here: precious.txt"):
        getattr(control, act)(service)

    assert "mine" == precious.read_text()


# Start --------------------------------------------------------------------------------------------------------------


def test_a_second_start_finds_the_server_of_the_first(machine: Machine) -> None:
    service = fake()
    first = machine.control(service).start(service)

    second = machine.control(service).start(service)

    assert first == second
    assert answers(second)


def test_what_cannot_be_fetched_is_told_and_nothing_is_started(machine: Machine) -> None:
    """What no package has comes from elsewhere, which may be out of reach."""

    def fetch() -> None:
        raise ServiceError("1 file could not be downloaded")

    service = replace(fake(), fetch=fetch)

    with pytest.raises(ServiceError, match="1 file could not be downloaded"):
        machine.control(service).start(service)

    assert not machine.folder.exists()


def test_two_starts_at_the_same_time_make_one_server(machine: Machine) -> None:
    service = fake()
    together = threading.Barrier(2)

    def start(control: Control) -> Server:
        together.wait()
        return control.start(service)

    with ThreadPoolExecutor(2) as threads:
        one, other = threads.map(start, [machine.control(service), machine.control(service)])

    assert one == other


def test_a_port_that_another_program_took_is_given_up(machine: Machine, stranger: Server) -> None:
    """The stranger answers there, but it is not the process that was started."""
    service = fake()
    free = free_port()
    ports = iter([stranger.port, free])

    server = machine.control(service, ports=lambda: next(ports)).start(service)

    assert free == server.port
    assert answers(stranger)


def test_a_server_that_ends_by_itself_is_quoted(machine: Machine) -> None:
    service = fake(code=ENDS_AT_ONCE)

    with pytest.raises(ServiceError, match=f"fake ended by itself, {ATTEMPTS} times. It said: no such option"):
        machine.control(service).start(service)


def test_a_program_that_cannot_be_run_is_named(machine: Machine, tmp_path: Path) -> None:
    program = tmp_path / "not-a-program"
    program.write_bytes(b"\x7fELF, or so it says")
    program.chmod(0o755)
    service = fake(program=str(program))

    with pytest.raises(ServiceError, match="not-a-program cannot be run"):
        machine.control(service).start(service)


def test_a_server_that_is_never_ready_is_ended(machine: Machine) -> None:
    started: list[Server] = []

    def is_ready(server: Server) -> bool:
        started.append(server)
        return False

    service = fake(is_ready=is_ready)

    with pytest.raises(ServiceError, match="fake was not ready after 0 s. It said: nothing"):
        machine.control(service, ready_within_s=0).start(service)

    assert not is_running(started[0])


def test_patience_has_an_end() -> None:
    clock = Clock()

    assert not Patience(clock=clock, sleep=clock.sleep).wait(lambda: False, within_s=0.05)

    assert [0.02, 0.02, 0.02] == clock.slept  # 0.02, 0.04: too early; 0.06: over


def test_an_interrupted_start_leaves_no_server(machine: Machine) -> None:
    started: list[Server] = []

    def is_ready(server: Server) -> bool:
        started.append(server)
        raise KeyboardInterrupt

    service = fake(is_ready=is_ready)
    with pytest.raises(KeyboardInterrupt):
        machine.control(service).start(service)

    assert not is_running(started[0])


def test_a_server_that_was_killed_is_started_again(machine: Machine) -> None:
    service = fake()
    control = machine.control(service)
    killed = control.start(service)
    kill(killed)

    server = control.start(service)

    assert killed.began != server.began or killed.pid != server.pid
    assert answers(server)


def test_a_server_that_no_longer_answers_is_replaced(machine: Machine, freeze: Callable[[int], None]) -> None:
    """A test may have frozen it and gone; it takes connections still, because the kernel does."""
    service = fake(is_ready=lambda server: tells_its_pid(server, timeout_s=0.1))
    control = machine.control(service, answers_within_s=0)
    frozen = control.start(service)
    freeze(frozen.pid)

    server = control.start(service)

    assert frozen != server
    assert not is_running(frozen)


def test_a_server_that_is_slow_to_answer_is_kept(machine: Machine) -> None:
    """On a busy machine; others are at work with it."""
    answered = iter([True, False, False, True])
    service = fake(is_ready=lambda _: next(answered))
    clock = Clock()
    control = machine.control(service, patience=Patience(clock=clock, sleep=clock.sleep))
    server = control.start(service)

    assert server == control.start(service)


def test_what_was_written_when_the_machine_went_down_is_forgotten(machine: Machine) -> None:
    service = fake()
    remember(machine.folder, service, "")

    assert answers(machine.control(service).start(service))


def test_a_pid_that_was_given_to_another_is_not_taken_for_ours(machine: Machine, stranger: Server) -> None:
    """Same pid, another beginning."""
    service = fake()
    remember(machine.folder, service, json.dumps({**asdict(stranger), "began": "1"}))
    control = machine.control(service)

    server = control.start(service)
    control.stop(service)

    assert stranger.pid != server.pid
    assert answers(stranger)


def python(code: str) -> list[str]:
    return [sys.executable, "-I", "-S", "-c", code]


def test_data_is_prepared_once_step_by_step(machine: Machine) -> None:
    steps = [
        Step(python("open('first', 'w').write(input())"), "what it was told"),
        Step(python("import os; os.rename('first', 'second')")),
    ]
    service = replace(fake(), prepare=lambda *_: steps)
    control = machine.control(service)
    kill(control.start(service))

    control.start(service)

    assert [("second", "what it was told")] == [
        (path.name, path.read_text()) for path in (machine.folder / service.name / "data").iterdir()
    ]


def test_temporary_files_go_where_its_account_may_write(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TMPDIR of whoever starts it, be it that of a session of nox, may be closed to it."""
    monkeypatch.setenv("TMPDIR", str(tmp_path / "closed"))
    service = replace(fake(), prepare=lambda *_: [Step(python("import tempfile; tempfile.mkstemp('.made')"))])

    machine.control(service).start(service)

    assert [".made"] == [path.suffix for path in (machine.folder / service.name / "data").iterdir()]


def test_a_step_that_fails_is_quoted(machine: Machine) -> None:
    """And nothing is left of it that the next start could take for whole."""
    service = replace(fake(), prepare=lambda *_: [Step(python("import sys; sys.exit('no room')"))])

    with pytest.raises(ServiceError, match="fake could not be prepared: .* .exit code 1.. It said: no room"):
        machine.control(service).start(service)

    assert [] == list((machine.folder / service.name).iterdir())


def test_a_step_without_an_end_is_ended(machine: Machine) -> None:
    service = replace(fake(), prepare=lambda *_: [Step(python("import signal; signal.pause()"))])

    with pytest.raises(ServiceError, match="was not done after 0 s"):
        machine.control(service, prepared_within_s=0).start(service)


def test_what_a_killed_server_wrote_and_its_port_are_there_again(machine: Machine) -> None:
    """Those who know its address need not be told a new one."""
    service = fake()
    control = machine.control(service)
    killed = control.start(service)
    written = machine.folder / service.name / "data" / "written"
    written.touch()
    kill(killed)

    server = control.start(service)

    assert killed.port == server.port
    assert written.exists()


def test_when_the_port_is_taken_meanwhile_the_data_stays(machine: Machine) -> None:
    service = fake()
    control = machine.control(service)
    killed = control.start(service)
    written = machine.folder / service.name / "data" / "written"
    written.touch()
    kill(killed)

    with socket.create_server(("127.0.0.1", killed.port)):
        server = control.start(service)

    assert killed.port != server.port
    assert written.exists()


#: Does not start when the files are there that its last words name.
REFUSES = f"import os, sys\nif any(map(os.path.exists, sys.argv[2:])): sys.exit('refused')\n{FAKE}"


def refusing(file: str) -> Service:
    return replace(fake(), arguments=lambda _, port: ["-I", "-S", "-c", REFUSES, str(port), file])


def test_data_with_which_no_server_starts_is_given_up(machine: Machine) -> None:
    service = refusing("broken")
    control = machine.control(service)
    kill(control.start(service))
    (machine.folder / service.name / "data" / "broken").touch()

    assert answers(control.start(service))

    assert [] == list((machine.folder / service.name / "data").iterdir())


def test_a_stale_file_with_a_pid_does_not_keep_the_next_from_starting(machine: Machine) -> None:
    """Nor does it cost the data."""
    service = replace(refusing("pid"), leftovers=("pid", "of-which-there-is-none"))
    control = machine.control(service)
    kill(control.start(service))
    for name in ("pid", "written"):
        (machine.folder / service.name / "data" / name).touch()

    control.start(service)

    assert ["written"] == [path.name for path in (machine.folder / service.name / "data").iterdir()]


def test_half_removed_data_is_not_gone_on_with(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stop may be cut off at any time."""

    def remove_half(folder: Path, **_: object) -> None:
        (folder / "one half").unlink()
        raise KeyboardInterrupt

    service = fake()
    control = machine.control(service)
    control.start(service)
    for name in ("one half", "other half"):
        (machine.folder / service.name / "data" / name).touch()
    with monkeypatch.context() as patches, pytest.raises(KeyboardInterrupt):
        patches.setattr(shutil, "rmtree", remove_half)
        control.stop(service)

    control.start(service)

    assert [] == list((machine.folder / service.name / "data").iterdir())


@pytest.mark.parametrize("names", [["15"], ["15", "16"]])
def test_a_program_outside_of_path_is_found_the_newest_first(tmp_path: Path, names: list[str]) -> None:
    for name in names:
        program = tmp_path / name / "bin" / "no-such-program"
        program.parent.mkdir(parents=True)
        program.touch(mode=0o755)
    service = replace(fake(program="no-such-program"), places=(f"{tmp_path}/*/bin".removeprefix("/"),))

    assert str(tmp_path / names[-1] / "bin" / "no-such-program") == service.installed_at()


# Stop ---------------------------------------------------------------------------------------------------------------


def test_stop_ends_the_server_and_removes_its_data(machine: Machine) -> None:
    service = fake()
    server = machine.control(service).start(service)

    assert machine.control(service).stop(service)

    assert not is_running(server)
    assert not machine.folder.exists()


def test_stop_ends_only_what_was_started_there(machine: Machine, tmp_path: Path, stranger: Server) -> None:
    """Another folder is another developer, or another run."""
    service, kept = fake(), fake("kept")
    neighbour = Machine(tmp_path / "neighbour")
    control = machine.control(service, kept)
    control.start(service)
    others = [neighbour.control(service).start(service), control.start(kept), stranger]

    control.stop(service)

    assert [True, True, True] == [answers(server) for server in others]
    neighbour.close()


def test_stop_without_start_leaves_nothing(machine: Machine) -> None:
    service = fake()

    assert not machine.control(service).stop(service)

    assert not machine.folder.exists()


def test_a_server_that_ignores_the_request_to_end_is_killed(machine: Machine) -> None:
    service = fake(code=IGNORES_SIGTERM)
    control = machine.control(service, ends_within_s=0.1)
    server = control.start(service)

    control.stop(service)

    assert not is_running(server)


def test_a_server_is_asked_in_its_own_way_to_end(machine: Machine, tmp_path: Path) -> None:
    """SIGTERM asks some to wait for their clients first."""
    asked = tmp_path / "asked"
    code = f"""
import pathlib, signal, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
signal.signal(signal.SIGINT, lambda *_: (pathlib.Path({str(asked)!r}).touch(), sys.exit()))
{FAKE}"""
    service = replace(fake(code=code), ends_on=signal.SIGINT)
    control = machine.control(service)
    control.start(service)

    control.stop(service)

    assert asked.exists()


def test_the_folder_of_another_user_is_refused(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would name us processes to end."""
    machine.folder.mkdir()
    mine = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: mine + 1)

    with pytest.raises(ServiceError, match="is not a folder of this user"):
        Control(machine.folder)


def test_users_have_folders_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    mine = usual_folder()
    monkeypatch.setattr(os, "geteuid", lambda: 4711)

    assert mine != usual_folder()


# The commands -------------------------------------------------------------------------------------------------------


def no_install(packages: Sequence[str]) -> None:
    pytest.fail(f"nothing is missing, yet {packages} were to be installed")


def run(
    machine: Machine, *arguments: str, services: Sequence[Service], install: Callable[..., None] = no_install
) -> int:
    return main(
        [*arguments, "--folder", str(machine.folder)],
        services=services,
        install=install,
        control=lambda _: machine.control(*services),
    )


def test_start_prints_one_line_for_eval_per_service(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    """And nothing else on stdout, which the shell runs."""
    one, other = fake("one"), fake("other")

    assert 0 == run(machine, "start", services=[one, other])

    ports = [server.port for server in map(machine.control().running, [one, other]) if server]
    assert [
        f"export TEST_ONE_URL=one://127.0.0.1:{ports[0]}",
        f"export TEST_OTHER_URL=other://127.0.0.1:{ports[1]}",
    ] == capsys.readouterr().out.splitlines()


def test_status_prints_the_same_lines_and_starts_nothing(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    one, other = fake("one"), fake("other")
    run(machine, "start", "one", services=[one, other])
    started = capsys.readouterr()

    assert 1 == run(machine, "status", services=[one, other])

    printed = capsys.readouterr()
    assert started.out == printed.out
    assert "other: not running" in printed.err
    assert machine.control().running(other) is None


def test_stop_prints_nothing_for_eval(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    one, other = fake("one"), fake("other")
    run(machine, "start", "one", services=[one, other])
    capsys.readouterr()

    assert 0 == run(machine, "stop", services=[one, other])

    printed = capsys.readouterr()
    assert "" == printed.out
    assert ["one: stopped", "other: was not running"] == printed.err.splitlines()


def test_an_unknown_service_is_refused(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run(machine, "start", "oen", services=[fake("one")])

    assert "there is no oen; there is one" in capsys.readouterr().err


def test_what_is_missing_is_installed_first(machine: Machine, tmp_path: Path) -> None:
    program = tmp_path / "fake-server"
    service = fake(program=str(program))
    installed: list[str] = []

    def install(packages: Sequence[str]) -> None:
        installed.extend(packages)
        program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n', encoding="utf-8")
        program.chmod(0o755)

    assert 0 == run(machine, "start", services=[service], install=install)

    assert ["fake-server"] == installed


def test_missing_tools_are_installed_too(machine: Machine) -> None:
    """Those that are there, and the server itself, are not installed again."""
    tools = (Tool("no-such-tool", package="tool-package"), Tool(sys.executable, package="python"))
    installed: list[str] = []

    assert 0 == run(machine, "start", services=[replace(fake(), tools=tools)], install=installed.extend)

    assert ["tool-package"] == installed


def test_without_a_tool_the_server_starts_and_the_start_has_failed(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    def install(packages: Sequence[str]) -> None:
        raise ServiceError(f"no {packages[0]}")

    service = replace(fake(), tools=(Tool("no-such-tool", package="tool-package"),))

    assert 1 == run(machine, "start", services=[service], install=install)

    printed = capsys.readouterr()
    assert printed.out.startswith("export TEST_FAKE_URL=")
    assert "scripts/services: no tool-package" in printed.err


def test_what_cannot_be_installed_does_not_keep_the_rest_from_starting(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    def install(packages: Sequence[str]) -> None:
        raise ServiceError(f"no {packages[0]}")

    services = [fake("missing", program="no-such-program"), fake("present")]

    assert 1 == run(machine, "start", services=services, install=install)

    printed = capsys.readouterr()
    assert printed.out.startswith("export TEST_PRESENT_URL=")
    assert "scripts/services: no missing-server" in printed.err


def test_what_could_be_installed_starts_although_the_rest_could_not(
    machine: Machine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    services = [fake("one", program="no-such-program"), fake("other", program=str(tmp_path / "other"))]

    def install(packages: Sequence[str]) -> None:
        (tmp_path / "other").symlink_to(sys.executable)
        raise ServiceError(f"no {packages[0]}")

    assert 1 == run(machine, "start", services=services, install=install)

    assert capsys.readouterr().out.startswith("export TEST_OTHER_URL=")


def test_what_is_unusual_is_started_by_its_name_alone_and_stopped_with_the_rest(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    """And while it runs, it is found with the rest."""
    services = [fake("usual"), replace(fake("unusual"), is_usual=False)]

    assert 0 == run(machine, "start", services=services)
    assert ["TEST_USUAL_URL"] == variables(capsys)
    assert 0 == run(machine, "status", services=services)
    assert ["TEST_USUAL_URL"] == variables(capsys)
    assert 0 == run(machine, "start", "unusual", services=services)
    assert ["TEST_UNUSUAL_URL"] == variables(capsys)
    assert 0 == run(machine, "start", services=services)
    assert ["TEST_USUAL_URL", "TEST_UNUSUAL_URL"] == variables(capsys)
    assert 0 == run(machine, "stop", services=services)
    assert "unusual: stopped" in capsys.readouterr().err


def variables(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Those that were printed since the last time."""
    return [line.removeprefix("export ").partition("=")[0] for line in capsys.readouterr().out.splitlines()]


# The real thing -----------------------------------------------------------------------------------------------------


@pytest.mark.skipif(REDIS.installed_at() is None, reason="redis-server is not installed: scripts/services start")
def test_redis_serves_between_start_and_stop() -> None:
    """Through the shell, as people and CI do it."""
    bash = str(shutil.which("bash"))
    # Below the temporary folder and not pytest's, which only its owner enters: root starts Redis as somebody else.
    with tempfile.TemporaryDirectory(prefix="cqrs-services-test-") as folder:
        Path(folder).chmod(0o711)
        services = f"{shlex.quote(sys.executable)} scripts/services"
        options = f"--folder {folder}/services"
        script = f"""
            trap '{services} stop {options}' EXIT
            eval "$({services} start redis {options})"
            exec 3<>"/dev/tcp/127.0.0.1/$(sed -E 's|.*:([0-9]+)/0$|\\1|' <<<"$TEST_REDIS_URL")"
            printf 'PING\\r\\n' >&3
            head -n 1 <&3
        """
        done = subprocess.run([bash, "-c", script], check=True, cwd=ROOT, capture_output=True, text=True, timeout=60)

        assert "+PONG" == done.stdout.strip(), done.stderr
        assert "redis: stopped" in done.stderr
        assert [] == list(Path(folder).iterdir())


#: A worker of Kafka Connect is started by those tests that need one, on Linux alone.
@pytest.mark.parametrize("service", [s for s in SERVICES if s.is_usual], ids=lambda service: service.name)
def test_docker_has_the_same_servers(service: Service) -> None:
    compose = (ROOT / "compose.yaml").read_text(encoding="utf-8")

    assert f"\n  {service.name}:\n" in compose
    assert f"export {service.variable}=" in compose


@pytest.mark.parametrize(("all_run", "tests", "expected"), [(0, 0, 0), (0, 7, 7), (1, 0, 1), (1, 7, 7)])
def test_ci_stops_the_servers_and_keeps_the_exit_code_of_the_tests(
    tmp_path: Path, all_run: int, tests: int, expected: int
) -> None:
    """A server that could not be started fails the run, after everything else was tested with those that could."""
    for folder in (".ci", "scripts"):
        (tmp_path / folder).mkdir()
    shutil.copy(ROOT / ".ci" / "run", tmp_path / ".ci")
    command = f"python3 --version; echo tests see $TEST_REDIS_URL; exit {tests}"
    services = tmp_path / "scripts" / "services"
    services.write_text(
        f"#!/bin/sh\necho $1 >>notes\n[ $1 = stop ] || echo export TEST_REDIS_URL=here\nexit {all_run}\n",
        encoding="utf-8",
    )
    services.chmod(0o755)
    (tmp_path / "README.md").write_text(f"<!-- command: tests -->\n```bash\n{command}\n```\n", encoding="utf-8")
    environment = {**os.environ, "PYENV_VERSION": os.environ.get("PYENV_VERSION", "system")}

    done = subprocess.run(
        [str(tmp_path / ".ci" / "run")], check=False, env=environment, capture_output=True, text=True, timeout=60
    )

    assert expected == done.returncode, done.stderr
    assert "tests see here" in done.stdout
    assert ["start", "stop"] == (tmp_path / "notes").read_text(encoding="utf-8").split()
