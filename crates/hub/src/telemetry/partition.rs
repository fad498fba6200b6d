//! Which partition a device's messages go to: always the same one, so that their order is kept.

use crate::identity::DeviceId;
use crate::log::Partition;

/// The partition of a device: FNV-1a over its id, folded, modulo the partition count. Part of the data format: changing it
/// would break the order of a device's messages across an upgrade.
pub fn partition_of(device: &DeviceId, partition_count: u16) -> Partition {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for byte in device.as_str().bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    let folded = hash ^ (hash >> 32);
    let number = folded % u64::from(partition_count.max(1));
    Partition(u16::try_from(number).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partition(id: &str) -> u16 {
        partition_of(&DeviceId::parse(id).unwrap(), 4).0
    }

    #[test]
    fn is_fixed_for_ever() {
        // These values are on disk at users: a change of the function must fail here.
        assert_eq!(["dev1", "dev2", "a", "sensor-0001"].map(partition), [0, 1, 0, 3]);
    }

    #[test]
    fn spreads_numbered_devices() {
        let mut counts = [0_u32; 4];
        for number in 0..10_000 {
            counts[usize::from(partition(&format!("device-{number}")))] += 1;
        }
        assert!(
            counts.iter().all(|count| (2_300..2_700).contains(count)),
            "{counts:?}"
        );
    }
}
