//! Listening sockets of this machine and the processes that hold them, from /proc.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ListeningSocket {
    pub(super) address: SocketAddr,
    inode: u64,
}

/// A process that holds a socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Holder {
    pub(super) id: u32,
    pub(super) name: String,
}

impl ListeningSocket {
    /// Those that a listener at `address` would collide with.
    pub(super) fn at(address: SocketAddr) -> Vec<Self> {
        let tables = ["/proc/net/tcp", "/proc/net/tcp6"];
        let texts = tables.iter().filter_map(|table| fs::read_to_string(table).ok());
        let all: Vec<Self> = texts.flat_map(|text| parse(&text)).collect();
        all.into_iter().filter(|socket| collide(socket.address, address)).collect()
    }

    /// `None`: it is another user's.
    pub(super) fn holder(&self, likely: Option<u32>) -> Option<Holder> {
        let likely = likely.filter(|id| self.is_held_by(*id));
        let id = likely.or_else(|| processes().find(|id| self.is_held_by(*id)))?;
        let name = fs::read_to_string(format!("/proc/{id}/comm")).unwrap_or_default();
        Some(Holder { id, name: name.trim().to_owned() })
    }

    pub(super) fn is_held_by(&self, process: u32) -> bool {
        let Ok(descriptors) = fs::read_dir(format!("/proc/{process}/fd")) else { return false };
        let socket = format!("socket:[{}]", self.inode);
        descriptors
            .flatten()
            .any(|entry| fs::read_link(entry.path()).is_ok_and(|link| link.as_os_str() == &*socket))
    }
}

fn processes() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn collide(one: SocketAddr, other: SocketAddr) -> bool {
    let (a, b) = (one.ip().to_canonical(), other.ip().to_canonical());
    // [::] takes IPv4, too; 0.0.0.0 leaves IPv6 free.
    let any = |ip: IpAddr, of: IpAddr| ip.is_unspecified() && (ip.is_ipv6() || of.is_ipv4());
    one.port() == other.port() && (a == b || any(a, b) || any(b, a))
}

/// Lines of proc_net_tcp(5) in the state LISTEN.
fn parse(table: &str) -> Vec<ListeningSocket> {
    const LISTEN: &str = "0A";
    let socket = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [_, local, _, LISTEN, _, _, _, _, _, inode, ..] = words[..] else { return None };
        let (ip, port) = local.split_once(':')?;
        let address = SocketAddr::new(parse_ip(ip)?, u16::from_str_radix(port, 16).ok()?);
        Some(ListeningSocket { address, inode: inode.parse().ok()? })
    };
    table.lines().filter_map(socket).collect()
}

/// Words of 32 bits, each in the byte order of the machine.
fn parse_ip(hex: &str) -> Option<IpAddr> {
    let word = |at: usize| u32::from_str_radix(hex.get(8 * at..8 * at + 8)?, 16).ok().map(u32::to_ne_bytes);
    match hex.len() {
        8 => Some(Ipv4Addr::from(word(0)?).into()),
        32 => {
            let bytes: Vec<u8> = (0..4).map(word).collect::<Option<Vec<_>>>()?.concat();
            Some(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_listener_of_this_process_is_found_with_its_holder() {
        for listen in ["127.0.0.1:0", "0.0.0.0:0"] {
            let listener = TcpListener::bind(listen).unwrap();
            let address = listener.local_addr().unwrap();
            let found = ListeningSocket::at(address);
            assert!(found.iter().any(|socket| socket.address == address), "{address}: {found:?}");
            let holder = found[0].holder(None).unwrap();
            assert_eq!(holder.id, std::process::id());
            assert_eq!(found[0].holder(Some(1)).map(|holder| holder.id), Some(std::process::id()));
            drop(listener);
            assert_eq!(ListeningSocket::at(address), []);
        }
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn a_table_is_read_by_its_lines_of_listeners() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
             0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 777 1 0 100 0 0 10 0\n   \
             1: 0100007F:1F90 0100007F:0001 01 00000000:00000000 00:00000000 00000000     0        0 778 1 0 100 0 0 10 0\n   \
             2: 00000000000000000000000001000000:22B3 00000000000000000000000000000000:0000 0A 0:0 0:0 0 0 0 779 1";
        let found: Vec<_> = parse(table).into_iter().map(|it| (it.address.to_string(), it.inode)).collect();
        assert_eq!(found, [("127.0.0.1:8080".to_owned(), 777), ("[::1]:8883".to_owned(), 779)]);
    }

    #[test]
    fn addresses_collide_as_the_system_has_it() {
        for (one, other, collides) in [
            ("127.0.0.1:1", "127.0.0.1:1", true),
            ("127.0.0.1:1", "127.0.0.1:2", false),
            ("127.0.0.1:1", "127.0.0.2:1", false),
            ("0.0.0.0:1", "127.0.0.1:1", true),
            ("[::]:1", "127.0.0.1:1", true),
            ("[::]:1", "0.0.0.0:1", true),
            ("[::]:1", "[::1]:1", true),
            ("0.0.0.0:1", "[::1]:1", false),
            ("[::ffff:127.0.0.1]:1", "127.0.0.1:1", true),
        ] {
            let (one, other): (SocketAddr, SocketAddr) = (one.parse().unwrap(), other.parse().unwrap());
            assert_eq!((collide(one, other), collide(other, one)), (collides, collides), "{one} {other}");
        }
    }
}
