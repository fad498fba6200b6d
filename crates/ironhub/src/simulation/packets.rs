//! The MQTT packets of a simulated device (device-mqtt-https.md 3).

use mqtt::packet::{Connect, Filters, Packet, Publish, QoS, Subscribe};

/// Silence that a device allows itself. It pings at half of it.
pub(super) const KEEP_ALIVE_SECS: u16 = 60;

/// CONNECT with a token.
pub(super) fn connect(host: &str, id: &str, token: &str) -> Vec<u8> {
    let username = format!("{host}/{id}/?api-version=2021-04-12&DeviceClientType=ironhub-simulate");
    let mut bytes = Vec::new();
    let connect = Connect {
        client_id: id,
        clean_session: true,
        keep_alive_secs: KEEP_ALIVE_SECS,
        will: None,
        username: Some(&username),
        password: Some(token.as_bytes()),
    };
    Packet::Connect(connect).encode(&mut bytes);
    bytes
}

/// PUBLISH of the message of a number, in JSON, filled up to a size.
pub(super) fn publish(id: &str, packet_id: u16, number: u64, body_bytes: usize, out: &mut Vec<u8>) {
    let topic = format!("devices/{id}/messages/events/$.ct=application%2Fjson&$.ce=utf-8");
    let body = body(number, body_bytes);
    let publish = Publish {
        dup: false,
        qos: QoS::AtLeastOnce,
        retain: false,
        topic: &topic,
        packet_id,
        payload: body.as_bytes(),
    };
    Packet::Publish(publish).encode(out);
}

/// SUBSCRIBE to filters.
pub(super) fn subscribe(packet_id: u16, filters: &[(&str, QoS)], out: &mut Vec<u8>) {
    let bytes = Filters::to_bytes(filters);
    if let Ok(filters) = Filters::from_bytes(&bytes) {
        Packet::Subscribe(Subscribe { packet_id, filters }).encode(out);
    }
}

/// PUBLISH that is not acknowledged: requests about the twin, which have answers, and answers to methods.
pub(super) fn tell(topic: &str, payload: &[u8], out: &mut Vec<u8>) {
    let publish = Publish {
        dup: false,
        qos: QoS::AtMostOnce,
        retain: false,
        topic,
        packet_id: 0,
        payload,
    };
    Packet::Publish(publish).encode(out);
}

/// A reading that goes up and down. Small sizes get the shortest JSON that carries the number.
fn body(number: u64, body_bytes: usize) -> String {
    let wave = number % 40;
    let tenths = if wave < 20 { wave } else { 40 - wave };
    let bare = format!(
        "{{\"number\":{number},\"temperature\":{}.{}}}",
        20 + tenths / 10,
        tenths % 10
    );
    let padding = r#","padding":"""#;
    match body_bytes.checked_sub(bare.len() + padding.len()) {
        Some(missing) => {
            let head = bare.strip_suffix('}').unwrap_or(&bare);
            format!("{head},\"padding\":\"{}\"}}", "x".repeat(missing))
        }
        None => bare,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_json_of_the_size_asked_for() {
        for (number, size) in [(0, 60), (7, 100), (1_000_000, 4_096)] {
            let body = body(number, size);
            assert_eq!(body.len(), size);
            let json: serde_json::Value = serde_json::from_str(&body).unwrap();
            assert_eq!(json["number"], number);
        }
        let small: serde_json::Value = serde_json::from_str(&body(5, 1)).unwrap();
        assert_eq!(small["temperature"], 20.5);
    }

    #[test]
    fn the_packets_are_those_of_a_device() {
        let bytes = connect("hub.example", "d1", "token");
        let (packet, _) = Packet::parse(&bytes, 1_000).unwrap().unwrap();
        let Packet::Connect(connect) = packet else {
            panic!("no CONNECT")
        };
        assert_eq!(
            connect.username,
            Some("hub.example/d1/?api-version=2021-04-12&DeviceClientType=ironhub-simulate")
        );
        let mut bytes = Vec::new();
        publish("d1", 9, 1, 80, &mut bytes);
        let (packet, _) = Packet::parse(&bytes, 1_000).unwrap().unwrap();
        let Packet::Publish(publish) = packet else {
            panic!("no PUBLISH")
        };
        assert_eq!(publish.packet_id, 9);
        assert!(publish.topic.starts_with("devices/d1/messages/events/"));
    }
}
