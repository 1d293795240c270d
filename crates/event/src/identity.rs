//! Who speaks: the gateway that an event comes from, and the stream that its sequence numbers count in.

use crate::ids::{BootId, StreamId};

/// Where a gateway stands. The four names come from configuration, the replica from `--name`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Identity {
    pub organization: String,
    pub environment: String,
    pub site: String,
    pub gateway: String,
    /// One process of several that run the same gateway.
    pub replica: String,
}

/// One worker of one life of one gateway process: the scope in which `seq` is contiguous from 0.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Stream {
    pub identity: Identity,
    pub boot: BootId,
    pub worker: u16,
}

impl Stream {
    /// The 64-bit name of this stream: FNV-1a over every part with its length, then mixed, so that ids that
    /// differ in one bit share no bits. The same parts give the same id in every version of Weir.
    pub fn id(&self) -> StreamId {
        let identity = &self.identity;
        let mut hash = Fnv::new();
        for part in
            [&identity.organization, &identity.environment, &identity.site, &identity.gateway, &identity.replica]
        {
            hash.write(&(part.len() as u32).to_le_bytes());
            hash.write(part.as_bytes());
        }
        hash.write(&self.boot.0);
        hash.write(&self.worker.to_le_bytes());
        StreamId(mix(hash.0))
    }
}

struct Fnv(u64);

impl Fnv {
    fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}

/// MurmurHash3's 64-bit finaliser.
fn mix(mut hash: u64) -> u64 {
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(site: &str, gateway: &str, worker: u16) -> Stream {
        let identity = Identity { site: site.into(), gateway: gateway.into(), ..Identity::default() };
        Stream { identity, boot: BootId([7; 16]), worker }
    }

    #[test]
    fn the_id_of_a_stream_never_changes() {
        assert_eq!(stream("on-prem", "edge", 0).id().to_string(), "7ded6f52340b0fd5");
    }

    #[test]
    fn streams_that_differ_anywhere_differ_in_id() {
        let ids = [stream("a", "bc", 0), stream("ab", "c", 0), stream("a", "bc", 1)].map(|stream| stream.id());
        assert!(ids[0] != ids[1] && ids[0] != ids[2] && ids[1] != ids[2]);
    }
}
