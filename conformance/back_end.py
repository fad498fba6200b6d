"""`azure-iot-hub` as a back end of one device or one of its modules: the client has two names for every call, here they are one."""

from dataclasses import dataclass

import pytest
from azure.iot.hub import IoTHubRegistryManager
from azure.iot.hub.models import CloudToDeviceMethod, Twin, TwinProperties
from msrest.exceptions import HttpOperationError


@dataclass(frozen=True)
class BackEnd:
    registry: IoTHubRegistryManager
    device: str
    module: str | None = None

    @property
    def identity(self) -> tuple[str, ...]:
        return (self.device, self.module) if self.module else (self.device,)

    def twin(self) -> Twin:
        return (self.registry.get_module_twin if self.module else self.registry.get_twin)(*self.identity)

    def patch(self, desired: dict | None = None, tags: dict | None = None, etag: str | None = None) -> Twin:
        call = self.registry.update_module_twin if self.module else self.registry.update_twin
        return call(*self.identity, document(desired, tags), etag)

    def replace(self, desired: dict | None = None, tags: dict | None = None, etag: str | None = None) -> Twin:
        call = self.registry.replace_module_twin if self.module else self.registry.replace_twin
        return call(*self.identity, document(desired, tags), etag)

    def invoke(
        self, name: str, payload: object = None, response_secs: int | None = None, connect_secs: int | None = None
    ) -> tuple[int, object]:
        """Status and payload as the device chose them."""
        call = self.registry.invoke_device_module_method if self.module else self.registry.invoke_device_method
        request = CloudToDeviceMethod(
            method_name=name,
            payload=payload,
            response_timeout_in_seconds=response_secs,
            connect_timeout_in_seconds=connect_secs,
        )
        result = call(*self.identity, request)
        return result.status, result.payload


@dataclass(frozen=True)
class Commands:
    """`azure-iot-hub` as a sender of cloud-to-device messages."""

    registry: IoTHubRegistryManager

    def send(self, device: str, body: str, **properties: object) -> None:
        """System and application properties in the client's own spelling, such as `messageId`."""
        self.registry.send_c2d_message(device, body, properties)


def document(desired: dict | None, tags: dict | None) -> Twin:
    return Twin(tags=tags, properties=TwinProperties(desired=desired) if desired is not None else None)


def own(section: dict) -> dict:
    """The members of a section that applications wrote."""
    return {name: value for name, value in section.items() if name not in ("$metadata", "$version")}


def refusal(call, *arguments, **options) -> tuple[int, str]:
    """Status and error name of a refused call; the header and the body have to agree on the name."""
    response = refused(call, *arguments, **options)
    return response.status_code, response.headers["iothub-errorcode"]


def refused(call, *arguments, **options) -> object:
    """The response to a call that has to be refused, after a look at what all refusals share."""
    with pytest.raises(HttpOperationError) as caught:
        call(*arguments, **options)
    response = caught.value.response
    assert response.headers["iothub-errorcode"]
    assert response.headers["x-ms-request-id"]
    return response
