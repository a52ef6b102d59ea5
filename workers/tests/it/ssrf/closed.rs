//! The table of closed addresses, in all their spellings.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use postworks_workers::platforms::check_base_url;
use tokio::net::TcpStream;
use url::Host;

use super::alone::{Alone, alone};
use super::*;

/// Closed addresses, by range, and whether the operating system sends packets there at all.
const CLOSED: &[(&str, bool)] = &[
    // Unspecified: this machine itself.
    ("0.0.0.0", true),
    ("0.1.2.3", true),
    ("::", true),
    // Loopback.
    ("127.0.0.1", true),
    ("127.255.255.254", true),
    ("::1", true),
    // Private.
    ("10.0.0.1", true),
    ("10.255.255.255", true),
    ("172.16.0.1", true),
    ("172.31.255.255", true),
    ("192.168.0.1", true),
    ("fc00::1", true),
    ("fd12:3456::1", true),
    ("fec0::1", true),
    // Carriers'.
    ("100.64.0.1", true),
    ("100.127.255.255", true),
    // Link-local.
    ("169.254.0.1", true),
    ("fe80::1", false),
    // Where clouds answer their machines.
    ("169.254.169.254", true),
    ("169.254.170.2", true),
    ("168.63.129.16", true),
    ("100.100.100.200", true),
    ("192.0.0.192", true),
    ("fd00:ec2::254", true),
    ("fd20:ce::254", true),
    // IPv4 in IPv6: mapped, compatible, translated, NAT64, 6to4, Teredo.
    ("::ffff:127.0.0.1", true),
    ("::ffff:10.0.0.1", true),
    ("::ffff:169.254.169.254", true),
    ("::ffff:168.63.129.16", true),
    ("::127.0.0.1", true),
    ("::169.254.169.254", true),
    ("::ffff:0:169.254.169.254", true),
    ("64:ff9b::127.0.0.1", true),
    ("64:ff9b::169.254.169.254", true),
    ("64:ff9b:1::10.0.0.1", true),
    ("2002:7f00:1::1", true),
    ("2002:a9fe:a9fe::", true),
    ("2001::1", true),
    ("2001:0:5ef5:79fd::56fe:5501", true),
    // Documentation and benchmarks.
    ("192.0.2.1", true),
    ("198.51.100.7", true),
    ("203.0.113.9", true),
    ("198.18.0.1", true),
    ("198.19.255.255", true),
    ("2001:db8::1", true),
    ("3fff:fff::1", true),
    ("2001:2::1", true),
    // Protocols', relays', discarded, segment routing.
    ("192.0.0.8", true),
    ("192.88.99.1", true),
    ("2001:1ff:ffff::1", true),
    ("100::1", true),
    ("5f00::1", true),
    // Multicast, broadcast, reserved, unassigned.
    ("224.0.0.1", false),
    ("239.255.255.250", false),
    ("240.0.0.1", true),
    ("255.255.255.255", false),
    ("ff02::1", false),
    ("ff0e::1", false),
    ("4000::1", true),
];

/// Other ways of writing closed addresses.
const SPELLINGS: &[&str] = &[
    // Decimal, octal, hex, mixed; one to four parts.
    "2852039166",
    "0251.0376.0251.0376",
    "0xa9.0xfe.0xa9.0xfe",
    "0xa9fea9fe",
    "0XA9FEA9FE",
    "025177524776",
    "169.254.43518",
    "169.16689662",
    "0xa9.254.0251.254",
    "10.1",
    "012.1",
    "0xa.1",
    "127.1",
    "0x7f.1",
    "0177.1",
    "2130706433",
    "017700000001",
    "0",
    "0x0",
    "0x",
    "0xffffffff",
    // With a dot at the end.
    "169.254.169.254.",
    "10.0.0.1.",
    "127.0.0.1.",
    "2852039166.",
    "0xa9fea9fe.",
    // Percent-encoded.
    "%31%36%39.254.169.254",
    "169%2e254%2e169%2e254",
    "%30%78a9fea9fe",
    // Digits and dots of other scripts, and what an IDN makes of them.
    "１６９.２５４.１６９.２５４",
    "169。254。169。254",
    "169．254．169．254",
    "①⑥⑨.②⑤④.①⑥⑨.②⑤④",
    "𝟏𝟔𝟗.𝟐𝟓𝟒.𝟏𝟔𝟗.𝟐𝟓𝟒",
    "127.0.0.1\u{ad}",
    "ⓛocalhost",
    "ｌｏｃａｌｈｏｓｔ",
    // IPv6: cases, zeros, zones.
    "[0:0:0:0:0:0:0:1]",
    "[0000:0000:0000:0000:0000:0000:0000:0001]",
    "[::FFFF:A9FE:A9FE]",
    "[::ffff:169.254.169.254]",
    "[0:0:0:0:0:ffff:a9fe:a9fe]",
    "[64:FF9B::A9FE:A9FE]",
    "[FE80::1]",
    "[fe80::1%25lo]",
    "[fe80::1%lo]",
    "[::1%25lo]",
    "[::ffff:0177.0.0.1]",
    // Numbers that are no address, and are not asked for as names either.
    "256.256.256.256",
    "0x1ffffffff",
    "1.2.3.4.5",
    // This machine's name.
    "localhost",
    "LOCALHOST",
    "localhost.",
    "pds.localhost",
    "localhost..",
];

fn literal(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    }
}

fn addresses() -> impl Iterator<Item = (IpAddr, bool)> {
    CLOSED.iter().map(|&(ip, sends)| (ip.parse().unwrap(), sends))
}

fn leads_here(url: &Url, leads_to: Option<IpAddr>) -> bool {
    if let Some(ip) = leads_to {
        return ip.to_canonical().is_loopback();
    }
    match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.to_canonical().is_loopback(),
        Some(Host::Domain(name)) => name.trim_end_matches('.').ends_with("localhost"),
        None => false,
    }
}

/// The clients of the product, as they are and with loopback allowed.
struct Clients([(NetworkPolicy, Platforms); 2]);

impl Clients {
    fn knowing(names: &Arc<Names>) -> Self {
        Self([false, true].map(|allow_loopback| {
            (NetworkPolicy { allow_loopback }, platforms(allow_loopback, names))
        }))
    }

    /// Has every client that may not speak to `host` try to; answers how many requests were refused.
    async fn try_all(&self, host: &str, leads_to: Option<IpAddr>) -> usize {
        let mut refused = 0;
        for scheme in ["https", "http"] {
            // An address that is none is never accepted, or kept.
            let Ok(url) = format!("{scheme}://{host}/").parse::<Url>() else { continue };
            for (policy, platforms) in &self.0 {
                for descriptor in platforms.descriptors() {
                    if leads_here(&url, leads_to) && (descriptor.local || policy.allow_loopback) {
                        continue;
                    }
                    let checked = check_base_url(&url, descriptor, *policy);
                    assert!(checked.is_err() || leads_to.is_some(), "{url} is accepted");
                    let platform = platforms.get(descriptor.name).unwrap().as_ref();
                    for error in ask_everything(platform, &url).await {
                        let refuses = is_refused(&error);
                        assert!(refuses || is_unasked(&error), "{url}: {}", error.chain());
                        refused += usize::from(refuses);
                    }
                }
            }
        }
        refused
    }
}

/// The packets that a program sends there which checks nothing.
async fn sent_unchecked(network: &Alone, ip: IpAddr) -> u64 {
    let before = network.sent();
    let connecting = TcpStream::connect(SocketAddr::new(ip, 80));
    // Nobody will answer, and the first packet leaves at once.
    let _ = tokio::time::timeout(Duration::ZERO, connecting).await;
    let after = network.sent();
    after.out - before.out + after.lo - before.lo
}

#[test]
#[expect(clippy::print_stdout, reason = "the figures are what is asked for")]
fn no_packet_leaves_for_an_address_that_is_closed() {
    alone(async |network| {
        let before = network.sent();
        let mut names = Names::default();
        for (n, (ip, _)) in CLOSED.iter().enumerate() {
            names = names.name(format!("n{n}.example"), ip, ip);
        }
        let names = Arc::new(names);
        let clients = Clients::knowing(&names);
        let mut refused = 0;
        for (ip, _) in addresses() {
            refused += clients.try_all(&literal(ip), None).await;
            assert_eq!(network.sent(), before, "{ip}");
        }
        for host in SPELLINGS {
            refused += clients.try_all(host, None).await;
            assert_eq!(network.sent(), before, "{host}");
        }
        assert_eq!(names.asked(), 0, "an address was asked for as a name");
        for (n, (ip, _)) in addresses().enumerate() {
            refused += clients.try_all(&format!("n{n}.example"), Some(ip)).await;
            assert_eq!(network.sent(), before, "n{n}.example, which is {ip}");
        }
        assert!(names.asked() > CLOSED.len(), "the names were not looked up");

        // The counters would have told: of whoever does not check,
        let mut unchecked = 0;
        for (ip, sends) in addresses() {
            let sent = sent_unchecked(&network, ip).await;
            assert_eq!(sent > 0, sends, "{ip}: {sent} packets");
            unchecked += sent;
        }
        // and of the clients themselves, where they may speak.
        let mut open = 0;
        for url in ["https://1.1.1.1/", "https://[2606:4700::1111]/"] {
            let before = network.sent();
            let bluesky = clients.0[0].1.get("bluesky").unwrap().as_ref();
            for error in ask_everything(bluesky, &url.parse().unwrap()).await {
                assert_eq!(error.class(), ErrorClass::NotSent, "{}", error.chain());
            }
            assert!(network.sent().out >= before.out + 4, "no packet was seen for {url}");
            open += network.sent().out - before.out;
        }
        println!(
            "{} addresses and {} spellings: {refused} requests refused, 0 packets; {unchecked} \
             packets of a program that checks nothing, {open} of 8 requests that may leave",
            CLOSED.len(),
            SPELLINGS.len()
        );
    });
}

#[test]
fn each_address_stands_once_in_the_table() {
    let all: BTreeSet<IpAddr> = addresses().map(|(ip, _)| ip).collect();
    assert_eq!(all.len(), CLOSED.len());
}
