"""Registered identities and the ways to come in as one of them."""

from dataclasses import dataclass

from azure.iot.hub import IoTHubRegistryManager

import mqtt_wire
import tokens
from back_end import BackEnd
from mqtt_wire import MqttPeer
from subject import HOST, Hub


@dataclass(frozen=True)
class Device:
    """A registered device, or a module of one."""

    hub: Hub
    id: str
    key: str
    generation: str
    module: str | None = None

    @property
    def client_id(self) -> str:
        return f"{self.id}/{self.module}" if self.module else self.id

    @property
    def user_name(self) -> str:
        return f"{HOST}/{self.client_id}/?api-version=2021-04-12"

    @property
    def connection_string(self) -> str:
        return self.hub.device_connection_string(self.id, self.key, module=self.module)

    @property
    def commands_filter(self) -> str:
        middle = f"modules/{self.module}/" if self.module else ""
        return f"devices/{self.id}/{middle}messages/devicebound/#"

    def token(self, expires_at: int | None = None) -> str:
        return tokens.device_token(HOST, self.id, self.key, expires_at, module=self.module)

    def peer(self) -> MqttPeer:
        """A TLS connection that has said nothing yet."""
        return MqttPeer(self.hub.port("mqtt"), self.hub.ca_file)

    def connected(self, **options: object) -> MqttPeer:
        peer = self.peer()
        code, _ = peer.connect(self.client_id, self.user_name, self.token(), **options)
        assert code == 0, f"{self.client_id} was refused with code {code}"
        return peer

    def back_end(self) -> BackEnd:
        """The official client's view of this identity."""
        return BackEnd(IoTHubRegistryManager.from_connection_string(self.hub.service_connection_string()), self.id, self.module)

    def topic(self, properties: str = "") -> str:
        return mqtt_wire.telemetry_topic(f"{self.id}/modules/{self.module}" if self.module else self.id, properties)
