//! Lookup tables that spread sessions over servers by weight and move few of them when the servers change.
//!
//! The algorithm is Maglev hashing: Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load Balancer",
//! NSDI 2016, section 3.4. Each server has a permutation of the slots, made from its name; they take turns, and in a
//! turn a server takes the next free slot of its permutation. A weight is how often a server gets its turn.
//!
//! What moves when one of `n` servers of one weight comes or goes is its own share, 1/n, and by the table's nature
//! a few more: at most 1/20 of all sessions, for 2 to 1,000 servers (tested).
//! When a server falls ill nothing but its own share moves: see `patched`.

/// Slots of a table: the two primes of the paper. The first serves up to `SMALL_MAX` members with shares that are
/// true to 1 or 2 %; a fixed size matters, since a change of size moves every session.
const SMALL: u32 = 65_537;
const LARGE: u32 = 655_373;
const SMALL_MAX: usize = 4_096;

/// Who wants how much.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Member {
    /// What stands in the table for it.
    pub(crate) server: u16,
    /// The hash of its name: the same in every gateway, whatever the order of its configuration.
    pub(crate) name: u64,
    /// Its weight, above 0.
    pub(crate) weight: u64,
}

/// A hash that is the same on every machine and in every release, so that all gateways agree. Not for secrets.
///
/// Eight bytes at a time, each folded in by the two halves of a 128-bit product, as wyhash and its kin do.
pub(crate) fn hash(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    let start = fold(length ^ 0x9e37_79b9_7f4a_7c15, 0xd6e8_feb8_6659_fd93);
    let body = words.iter().fold(start, |hash, word| fold(hash ^ u64::from_le_bytes(*word), 0xa076_1d64_78bd_642f));
    again(fold(body ^ u64::from_le_bytes(last), 0xe703_7ed1_a0b4_28db), 0)
}

/// One more hash from a hash: for second choices.
pub(crate) fn again(hash: u64, attempt: u64) -> u64 {
    fold(hash ^ attempt.wrapping_mul(0x9e37_79b9_7f4a_7c15), 0x8ebc_6af0_9c88_c6e3) ^ hash.rotate_left(32)
}

fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product >> 64) as u64 ^ product as u64
}

/// The server that a table has for this hash.
pub(crate) fn pick(table: &[u16], hash: u64) -> Option<u16> {
    let slots = u128::try_from(table.len()).unwrap_or(0);
    // The upper bits of a product: uniform like a remainder, without a division.
    let slot = usize::try_from((u128::from(hash) * slots) >> 64).unwrap_or(0);
    table.get(slot).copied()
}

/// The table of these members; empty if there are none.
pub(crate) fn table(members: &[Member]) -> Box<[u16]> {
    let size = if members.len() <= SMALL_MAX { SMALL } else { LARGE };
    fill(members, size)
}

/// A table in which the slots of servers that may not be used are given to others, as `table(usable)` has it. All
/// other slots stay as they are: no session leaves a server that is well, and all come back to one that gets well.
pub(crate) fn patched(table: &[u16], usable: &[Member], is_usable: impl Fn(u16) -> bool) -> Box<[u16]> {
    if usable.is_empty() {
        return Box::default();
    }
    let stand_ins = fill(usable, u32::try_from(table.len()).unwrap_or(SMALL));
    table.iter().zip(&stand_ins).map(|(own, other)| if is_usable(*own) { *own } else { *other }).collect()
}

fn fill(members: &[Member], size: u32) -> Box<[u16]> {
    /// Where a member stands in its permutation, and what is left of its turn.
    struct Turn {
        server: u16,
        next: u32,
        skip: u32,
        weight: u64,
        credit: u64,
    }
    const FREE: u32 = u32::MAX;

    let mut members = members.to_vec();
    members.sort_by_key(|member| member.name);
    let slots = u64::from(size);
    let below = |hash: u64, bound: u64| u32::try_from(hash % bound).unwrap_or(0);
    let mut turns: Vec<Turn> = members
        .iter()
        .map(|member| Turn {
            server: member.server,
            next: below(member.name, slots),
            skip: below(again(member.name, 1), slots - 1) + 1,
            weight: member.weight.max(1),
            credit: 0,
        })
        .collect();
    let Some(full) = turns.iter().map(|turn| turn.weight).max() else {
        return Box::default();
    };

    let mut table = vec![FREE; usize::try_from(size).unwrap_or(0)];
    let mut free = table.len();
    'filling: loop {
        for turn in &mut turns {
            turn.credit += turn.weight;
            if turn.credit < full {
                continue;
            }
            turn.credit -= full;
            loop {
                let slot = usize::try_from(turn.next).unwrap_or(0);
                turn.next = (turn.next + turn.skip) % size; // a step through all slots, since the size is a prime
                if table[slot] == FREE {
                    table[slot] = u32::from(turn.server);
                    break;
                }
            }
            free -= 1;
            if free == 0 {
                break 'filling;
            }
        }
    }
    table.into_iter().map(|server| u16::try_from(server).unwrap_or(u16::MAX)).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn members(n: u16, weight: impl Fn(u16) -> u64) -> Vec<Member> {
        let member =
            |server: u16| Member { server, name: hash(format!("api-{server}").as_bytes()), weight: weight(server) };
        (0..n).map(member).collect()
    }

    fn shares(table: &[u16], n: u16) -> Vec<f64> {
        let mut counts = vec![0u32; usize::from(n)];
        table.iter().for_each(|server| counts[usize::from(*server)] += 1);
        counts.into_iter().map(|count| f64::from(count) / f64::from(u32::try_from(table.len()).unwrap())).collect()
    }

    fn moved(a: &[u16], b: &[u16]) -> f64 {
        let moved = a.iter().zip(b).filter(|(a, b)| a != b).count();
        moved as f64 / a.len() as f64
    }

    #[test]
    fn shares_follow_weights() {
        let table = table(&members(10, |server| if server == 0 { 5 } else { 20 }));
        for (server, share) in shares(&table, 10).into_iter().enumerate() {
            let expected = if server == 0 { 5.0 / 185.0 } else { 20.0 / 185.0 };
            assert!((share / expected - 1.0).abs() < 0.02, "server {server}: {share} for {expected}");
        }
    }

    #[test]
    fn the_order_of_members_does_not_matter() {
        let mut turned = members(16, |_| 1);
        let straight = table(&turned);
        turned.reverse();
        assert_eq!(straight, table(&turned));
    }

    #[test]
    fn one_server_more_or_less_moves_its_share_and_a_twentieth_at_most() {
        for n in [2, 3, 10, 16, 100, 1000] {
            let all = members(n, |_| 1);
            let (with, without) = (table(&all), table(&all[1..]));
            let (moved, share) = (moved(&with, &without), 1.0 / f64::from(n));
            assert!(moved <= share + 0.05, "{n} servers: {moved} moved, the share was {share}");
        }
    }

    #[test]
    fn an_ill_server_moves_its_own_sessions_only_and_gets_them_back() {
        let all = members(16, |server| u64::from(server) + 1);
        let base = table(&all);
        let well: Vec<Member> = all.iter().copied().filter(|member| ![3, 7].contains(&member.server)).collect();
        let ill = patched(&base, &well, |server| ![3, 7].contains(&server));
        for (own, now) in base.iter().zip(&ill) {
            assert!(![3, 7].contains(now));
            assert!(own == now || [3, 7].contains(own));
        }
        assert_eq!(patched(&base, &all, |_| true), base);
        // What is left is spread by weight over those that are well.
        for (server, share) in shares(&ill, 16).into_iter().enumerate().filter(|(server, _)| ![3, 7].contains(server)) {
            let expected = (server as f64 + 1.0) / (136.0 - 4.0 - 8.0);
            assert!((share / expected - 1.0).abs() < 0.15, "server {server}: {share} for {expected}");
        }
    }

    #[test]
    fn the_hash_is_the_same_for_ever_and_spreads_similar_keys() {
        assert_eq!(hash(b""), hash(b""));
        assert_ne!(hash(b"a"), hash(b"a\0"));
        let table = table(&members(16, |_| 1));
        let mut counts = [0u32; 16];
        for n in 0..160_000 {
            counts[usize::from(pick(&table, hash(format!("session-{n}").as_bytes())).unwrap())] += 1;
        }
        assert!(counts.iter().all(|count| (9_400..10_600).contains(count)), "{counts:?}");
    }

    #[test]
    fn sizes_are_primes() {
        for size in [SMALL, LARGE] {
            assert!((2..).take_while(|n| n * n <= size).all(|n| size % n != 0), "{size}");
        }
    }
}
