"""Back ends that sign in with tokens of an OpenID Connect issuer, and what their roles let them do."""

import json
import time

import pytest
import requests

from issuer import Issuer, back_end
from node_peer import NodePeer, NodeRefusal
from subject import HOST

PATIENCE_SECS = 15


@pytest.fixture
def issuer(hub):
    applications = {"owner": {"groups": ["operators"]}, "reader": {"roles": ["Readers"]}, "nobody": {}}
    with Issuer(hub.ca_file, applications) as running:
        hub.run(["issuer", "set", "oidc", "--issuer", running.url])
        made = [
            hub.run(["assignment", "create", "IoT Hub Data Contributor", "--group", "operators", "--output", "json"]),
            hub.run(["assignment", "create", "IoT Hub Data Reader", "--app-role", "Readers", "--output", "json"]),
        ]
        yield running
        for text in made:
            hub.run(["assignment", "delete", json.loads(text)["id"]])
        hub.run(["issuer", "delete", "oidc"])


def twin_status(device: str, token: str) -> tuple[int, str]:
    answer = requests.get(
        f"https://{HOST}/twins/{device}?api-version=2021-04-12",
        headers={"Authorization": f"Bearer {token}"},
        timeout=10,
    )
    return answer.status_code, answer.text


def test_the_python_back_end_does_what_its_role_grants(hub, issuer, device, monkeypatch):
    monkeypatch.setattr("certifi.where", lambda: hub.ca_file)
    owner = back_end(HOST, issuer.token("owner"))
    assert owner.get_device(device.id).device_id == device.id
    assert owner.get_twin(device.id).device_id == device.id
    owner.send_c2d_message(device.id, "hello")
    reader = back_end(HOST, issuer.token("reader"))
    assert reader.get_twin(device.id).device_id == device.id
    for refused in (
        lambda: reader.delete_device(device.id),
        lambda: back_end(HOST, issuer.token("nobody")).get_device(device.id),
    ):
        with pytest.raises(Exception, match="(?i)unauthorized"):
            refused()
    known = {json.dumps(record, sort_keys=True) for record in hub.records()}
    status, text = twin_status(device.id, issuer.token("nobody"))
    assert status == 401
    assert f"Principal nobody is not authorized for GET on /twins/{device.id}" in text
    hub.await_record("refused", "no role of principal 'nobody'", known=known)


def test_the_node_back_end_does_what_its_role_grants(hub, issuer, device):
    with NodePeer("service_token.js", hub.ca_file) as peer:
        peer.call("open", host=HOST, token=issuer.token("owner"))
        assert peer.call("registry", method="get", args=[device.id])["deviceId"] == device.id
        assert peer.call("registry", method="getTwin", args=[device.id])["deviceId"] == device.id
        peer.call("send", device=device.id, body="hello")
    with NodePeer("service_token.js", hub.ca_file) as peer:
        peer.call("open", host=HOST, token=issuer.token("reader"))
        assert peer.call("registry", method="get", args=[device.id])["deviceId"] == device.id
        with pytest.raises(NodeRefusal) as refusal:
            peer.call("registry", method="delete", args=[device.id])
        assert refusal.value.name == "UnauthorizedError"
        with pytest.raises(NodeRefusal) as refusal:
            peer.call("send", device=device.id, body="hello")
        assert refusal.value.name == "UnauthorizedError"


def test_a_token_signed_with_a_new_key_is_taken(hub, issuer, device):
    old = issuer.token("reader")
    assert twin_status(device.id, old)[0] == 200
    issuer.roll(keepsOld=True)
    deadline = time.monotonic() + PATIENCE_SECS
    # Keys are read at most once in ten seconds.
    while twin_status(device.id, issuer.token("reader"))[0] != 200:
        assert time.monotonic() < deadline
        time.sleep(0.5)
    assert twin_status(device.id, old)[0] == 200


def test_a_given_key_set_needs_no_way_to_the_issuer(hub, device, tmp_path):
    keys = tmp_path / "keys.json"
    with Issuer(hub.ca_file, {"reader": {}}, kind="RSA") as running:
        token, url = running.token("reader"), running.url
        keys.write_text(json.dumps(running.key_set()))
    # The issuer has gone.
    hub.run(["issuer", "set", "gap", "--issuer", url, "--jwks-file", str(keys)])
    made = hub.run(
        ["assignment", "create", "IoT Hub Data Reader", "--subject", "reader", "--issuer", "gap", "--output", "json"]
    )
    assert twin_status(device.id, token)[0] == 200
    # Taken away, it opens nothing from the next request on.
    hub.run(["assignment", "delete", json.loads(made)["id"]])
    assert twin_status(device.id, token)[0] == 401
    hub.run(["issuer", "delete", "gap"])
    assert twin_status(device.id, token)[0] == 401
