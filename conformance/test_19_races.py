"""Eight back ends write one twin while its device reports and loses its connection: nothing is lost, versions have no gap."""

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest
from msrest.exceptions import HttpOperationError

import mqtt_wire
from back_end import BackEnd, own
from cut_line import CutLine
from device_client import DeviceClient
from identities import Device
from mqtt_wire import MqttPeer

BACK_ENDS = 8
WRITES_EACH = 25
DEVICE_SUBSCRIPTIONS = (("$iothub/twin/res/#", 0), ("$iothub/twin/PATCH/properties/desired/#", 0))
PATIENCE_SECS = 120


@dataclass
class Writer:
    """What one back end did: the desired versions that it was told, and how often it was refused."""

    versions: list[int] = field(default_factory=list)
    conflicts: int = 0


def write_blindly(back_end: BackEnd, number: int) -> Writer:
    """Each write is of this writer's own property and of one that all write."""
    writer = Writer()
    for count in range(1, WRITES_EACH + 1):
        twin = back_end.patch(desired={f"writer{number}": count, "last": [number, count]})
        writer.versions.append(twin.properties.desired["$version"])
    return writer


def count_with_etags(back_end: BackEnd, number: int) -> Writer:
    """Raises a shared counter, which is only right when a conflict is told exactly when there was one."""
    writer = Writer()
    while len(writer.versions) < WRITES_EACH:
        twin = back_end.twin()
        counter = own(twin.properties.desired).get("counter", 0)
        try:
            changed = back_end.patch(desired={"counter": counter + 1, f"writer{number}": len(writer.versions) + 1}, etag=twin.etag)
        except HttpOperationError as refused:
            assert refused.response.status_code == 412, refused.response.text
            assert back_end.twin().etag != twin.etag, "a conflict with nobody"
            writer.conflicts += 1
            continue
        assert own(changed.properties.desired)["counter"] == counter + 1
        writer.versions.append(changed.properties.desired["$version"])
    return writer


def race(identity: Device) -> list[Writer]:
    """Half of the back ends write with etags, half without."""
    with ThreadPoolExecutor(BACK_ENDS) as pool:
        work = [
            pool.submit(count_with_etags if number % 2 else write_blindly, identity.back_end(), number) for number in range(BACK_ENDS)
        ]
        return [job.result(timeout=PATIENCE_SECS) for job in work]


def assert_nothing_lost(identity: Device, writers: list[Writer]) -> None:
    versions = sorted(version for writer in writers for version in writer.versions)
    total = BACK_ENDS * WRITES_EACH
    assert versions == list(range(2, total + 2)), "each accepted write has a version of its own, without a gap"
    assert all(writer.versions == sorted(writer.versions) for writer in writers)
    desired = identity.back_end().twin().properties.desired
    assert desired["$version"] == total + 1
    assert {number: desired[f"writer{number}"] for number in range(BACK_ENDS)} == dict.fromkeys(range(BACK_ENDS), WRITES_EACH)
    assert desired["counter"] == BACK_ENDS // 2 * WRITES_EACH


class Reporter:
    """A device that reports as fast as it is answered, loses its connection with a report under way, and checks what it is told.

    Whether a report counts whose answer was never seen is open until the end; such reports have a property of their own.
    """

    def __init__(self, identity: Device):
        self._identity = identity
        self._stop = threading.Event()
        self.versions: list[int] = []
        self.unanswered = 0
        self.connections = 0
        self.desired: dict = {"$version": 1}
        self._reported = 1
        self.failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def finish(self) -> None:
        self._stop.set()
        self._thread.join(timeout=PATIENCE_SECS)
        if self.failure:
            raise self.failure

    def assert_nothing_lost(self) -> None:
        """Every answered report has a version of its own; what is between them are reports whose answer got lost."""
        reported = self._identity.back_end().twin().properties.reported
        assert reported["count"] == len(self.versions)
        assert self.versions == sorted(set(self.versions))
        without_answer = reported["$version"] - 1 - len(self.versions)
        assert 0 <= without_answer <= self.unanswered
        assert self.versions[-1] <= reported["$version"]

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                self._one_connection(reports=7)
            self._one_connection(reports=0)
        except BaseException as failure:  # noqa: BLE001 (told by `finish`)
            self.failure = failure

    def _one_connection(self, reports: int) -> None:
        with self._identity.connected(clean=False) as peer:
            self.connections += 1
            if self.connections == 1:
                peer.subscribe(*DEVICE_SUBSCRIPTIONS)
            self._read_twin(peer)
            for _ in range(reports):
                self._send(peer, {"count": len(self.versions) + 1})
                head, version = self._answer(peer).split("&$version=")
                assert head == "204/?$rid=report"
                self._reached(int(version))
                self.versions.append(int(version))
            if reports:
                self.unanswered += 1
                self._send(peer, {"unanswered": self.unanswered})
            peer.drop()

    def _read_twin(self, peer: MqttPeer) -> None:
        peer.send(mqtt_wire.publish_packet("$iothub/twin/GET/?$rid=get", b"", qos=0))
        early: list[dict] = []
        while not (received := peer.next_publish()).topic.startswith("$iothub/twin/res/"):
            early.append(received.json)
        twin = received.json
        assert twin["reported"].get("count", 0) == len(self.versions)
        self._reached(twin["reported"]["$version"], again=True)
        assert twin["desired"]["$version"] >= self.desired["$version"]
        self.desired = twin["desired"]
        # A notification may overtake the answer; what it told is in the twin then, or follows it without a gap.
        for patch in early:
            self._take(patch)

    def _reached(self, version: int, again: bool = False) -> None:
        assert version > self._reported or (again and version == self._reported), "the version went back"
        self._reported = version

    def _send(self, peer: MqttPeer, patch: dict) -> None:
        topic = "$iothub/twin/PATCH/properties/reported/?$rid=report"
        peer.send(mqtt_wire.publish_packet(topic, json.dumps(patch).encode(), qos=0))

    def _answer(self, peer: MqttPeer) -> str:
        while not (received := peer.next_publish()).topic.startswith("$iothub/twin/res/"):
            self._take(received.json)
        return received.topic.removeprefix("$iothub/twin/res/")

    def _take(self, patch: dict) -> None:
        if patch["$version"] <= self.desired["$version"]:
            return
        assert patch["$version"] == self.desired["$version"] + 1, f"a gap after {self.desired['$version']}: {patch}"
        self.desired |= patch


def test_eight_back_ends_and_a_device_that_reports_and_reconnects(identity):
    device = Reporter(identity)
    try:
        writers = race(identity)
    finally:
        device.finish()
    assert_nothing_lost(identity, writers)
    device.assert_nothing_lost()
    twin = identity.back_end().twin()
    assert device.connections > 3, "the device was to lose its connection during the race"
    assert device.desired == own(twin.properties.desired) | {"$version": twin.properties.desired["$version"]}
    assert sum(writer.conflicts for writer in writers) > 0, "there was no race"
    assert twin.version == twin.properties.desired["$version"] + twin.properties.reported["$version"]


@pytest.mark.parametrize("style", ["sync", "aio"])
def test_the_official_device_client_over_a_line_that_breaks(hub, device, line: CutLine, style):
    string = hub.device_connection_string(device.id, device.key, hub.dotted_name)
    stop = threading.Event()
    reports = [0]

    def report_on(client: DeviceClient) -> None:
        while not stop.is_set():
            reports[0] += 1
            client.report({"count": reports[0]})

    def break_now_and_then(client: DeviceClient) -> None:
        while not stop.wait(0.5):
            line.cut()
            client.await_loss()
            line.join()
            client.await_return()

    with DeviceClient(string, hub.ca_file, style) as client, ThreadPoolExecutor(2) as pool:
        client.listen_for_desired()
        client.report({"count": 0})
        breaking = pool.submit(break_now_and_then, client)
        writers = race(device)
        stop.set()
        breaking.result(timeout=PATIENCE_SECS)
        assert_nothing_lost(device, writers)
        last = BACK_ENDS * WRITES_EACH + 1
        seen: dict = {"$version": 1}
        while seen["$version"] < last:
            patch = client.next_patch()
            if patch["$version"] > seen["$version"]:
                seen |= patch
        assert seen == own(device.back_end().twin().properties.desired) | {"$version": last}
        client.report({"count": "last"})
    assert own(device.back_end().twin().properties.reported) == {"count": "last"}


def test_a_single_writer_with_etags_never_meets_a_conflict(identity):
    writer = count_with_etags(identity.back_end(), 1)
    assert writer.conflicts == 0
    assert writer.versions == list(range(2, WRITES_EACH + 2))


def test_reports_do_not_disturb_writers_with_etags(identity):
    device = Reporter(identity)
    try:
        deadline = time.monotonic() + PATIENCE_SECS
        while len(device.versions) < 5:
            assert time.monotonic() < deadline and device.failure is None, device.failure
            time.sleep(0.02)
        assert count_with_etags(identity.back_end(), 1).conflicts == 0
    finally:
        device.finish()


def test_the_newest_connection_has_the_last_word(identity):
    """A report that waits behind a message must not be carried out after the device has come again and reported anew."""
    report = "$iothub/twin/PATCH/properties/reported/?$rid=1"
    for number in range(20):
        with identity.connected() as older, identity.peer() as newer:
            older.send(
                mqtt_wire.publish_packet(identity.topic(), b"x" * 2_000, packet_id=1)
                + mqtt_wire.publish_packet(report, b'{"by":"older %d"}' % number, qos=0)
            )
            assert newer.connect(identity.client_id, identity.user_name, identity.token())[0] == 0
            newer.subscribe(("$iothub/twin/res/#", 0))
            assert newer.ask(report, b'{"by":"newer %d"}' % number).topic.startswith("$iothub/twin/res/204/")
            older.await_end()
        assert own(identity.back_end().twin().properties.reported) == {"by": f"newer {number}"}
