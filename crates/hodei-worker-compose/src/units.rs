//! Durations, sizes and ports in their short forms.

/// Reads a duration such as `1m30s`, `1.5h` or `2d` into nanoseconds.
pub(crate) fn duration(text: &str) -> Option<i64> {
    let (negative, mut rest) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total = 0_i64;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let whole: i64 = if digits == 0 { 0 } else { rest[..digits].parse().ok()? };
        rest = &rest[digits..];
        let mut fraction = "";
        if let Some(after) = rest.strip_prefix('.') {
            let digits = after.bytes().take_while(u8::is_ascii_digit).count();
            fraction = &after[..digits];
            rest = &after[digits..];
        }
        if digits == 0 && fraction.is_empty() {
            return None;
        }
        let end = rest.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(rest.len());
        let unit = match &rest[..end] {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            "d" => 86_400_000_000_000,
            "w" => 604_800_000_000_000,
            _ => return None,
        };
        rest = &rest[end..];
        // Eighteen digits are all that a 64 bit number holds.
        let fraction = &fraction[..fraction.len().min(18)];
        let part = match fraction.is_empty() {
            true => 0,
            false => {
                let scale = 10_f64.powi(fraction.len() as i32);
                (fraction.parse::<i64>().ok()? as f64 * (unit as f64 / scale)) as i64
            }
        };
        total = total.checked_add(whole.checked_mul(unit)?.checked_add(part)?)?;
    }
    Some(if negative { -total } else { total })
}

/// Prints a duration as Go does: `1h0m0s`, `1.5s`, `100ms`.
pub(crate) fn print_duration(nanos: i64) -> String {
    if nanos == 0 {
        return "0s".to_owned();
    }
    let sign = if nanos < 0 { "-" } else { "" };
    let nanos = nanos.unsigned_abs();
    let decimal = |value: u64, scale: u64, unit: &str| {
        let width = scale.ilog10() as usize;
        let fraction = format!("{:0width$}", value % scale);
        let fraction = fraction.trim_end_matches('0');
        let point = if fraction.is_empty() || scale == 1 { "" } else { "." };
        let fraction = if scale == 1 { "" } else { fraction };
        format!("{}{point}{fraction}{unit}", value / scale)
    };
    let text = match nanos {
        0..1_000 => decimal(nanos, 1, "ns"),
        1_000..1_000_000 => decimal(nanos, 1_000, "µs"),
        1_000_000..1_000_000_000 => decimal(nanos, 1_000_000, "ms"),
        _ => {
            let minutes = nanos / 60_000_000_000;
            let seconds = decimal(nanos % 60_000_000_000, 1_000_000_000, "s");
            match (minutes / 60, minutes % 60) {
                (0, 0) => seconds,
                (0, minutes) => format!("{minutes}m{seconds}"),
                (hours, minutes) => format!("{hours}h{minutes}m{seconds}"),
            }
        }
    };
    format!("{sign}{text}")
}

/// Reads a size such as `64m`, `1.5gb` or `512` into bytes. Units are powers of 1024.
pub(crate) fn bytes(text: &str) -> Option<i64> {
    if let Ok(value) = text.parse() {
        return Some(value);
    }
    let at = text.rfind(|c: char| c.is_ascii_digit() || matches!(c, '.' | ' '))?;
    let (number, suffix) = match text.as_bytes()[at] {
        b' ' => (&text[..at], &text[at + 1..]),
        _ => text.split_at(at + 1),
    };
    let size = crate::number::go_parse_float(number).filter(|size| *size >= 0.0)?;
    let scale: f64 = match suffix.to_ascii_lowercase().as_str() {
        "" | "b" => 1.0,
        "k" | "kb" | "kib" => 1024.0,
        "m" | "mb" | "mib" => 1024.0 * 1024.0,
        "g" | "gb" | "gib" => 1024.0 * 1024.0 * 1024.0,
        "t" | "tb" | "tib" => 1024.0 * 1024.0 * 1024.0 * 1024.0,
        "p" | "pb" | "pib" => 1024.0 * 1024.0 * 1024.0 * 1024.0 * 1024.0,
        _ => return None,
    };
    let size = size * scale;
    // What does not fit wraps to the least number in the reference implementation.
    Some(if size >= i64::MAX as f64 || size.is_nan() { i64::MIN } else { size as i64 })
}

/// A published port in the long form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Port {
    pub(crate) host_ip: String,
    pub(crate) published: String,
    pub(crate) target: u16,
    pub(crate) protocol: String,
}

/// Reads a port in the short form `[[ip:]published:]target[/protocol]`, with ranges.
pub(crate) fn ports(text: &str) -> Result<Vec<Port>, String> {
    let mut parts: Vec<&str> = text.rsplitn(3, ':').collect();
    parts.reverse();
    let (ip, published, target) = match parts[..] {
        [target] => ("", "", target),
        [published, target] => ("", published, target),
        _ => (parts[0], parts[1], parts[2]),
    };
    let (target, protocol) = target.split_once('/').unwrap_or((target, ""));
    if target.is_empty() {
        return Err("it names no port of the service".to_owned());
    }
    let protocol = if protocol.is_empty() { "tcp".to_owned() } else { protocol.to_lowercase() };
    if !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
        return Err(format!("`{protocol}` is no protocol; there are tcp, udp and sctp"));
    }
    let ip = match ip.strip_prefix('[') {
        Some(inner) => inner.strip_suffix(']').filter(|inner| !inner.contains(['[', ']'])).unwrap_or(ip),
        None => ip,
    };
    if !ip.is_empty() && !is_ip(ip) {
        return Err(format!("`{ip}` is no IP address"));
    }
    let (first, last) =
        range(target).ok_or_else(|| format!("`{target}` is no port and no range of ports"))?;
    let host = match published {
        "" => None,
        published => {
            Some(range(published).ok_or_else(|| format!("`{published}` is no port and no range of ports"))?)
        }
    };
    if let Some((from, to)) = host
        && to - from != last - first
        && first != last
    {
        return Err(format!("the ranges {published} and {target} have different lengths"));
    }
    let mut ports: Vec<Port> = (first..=last)
        .map(|target| Port {
            host_ip: ip.to_owned(),
            published: match host {
                None => String::new(),
                Some((from, to)) if first == last && from != to => format!("{from}-{to}"),
                Some((from, _)) => (from + target - first).to_string(),
            },
            target,
            protocol: protocol.clone(),
        })
        .collect();
    // In the order of their names, as the reference implementation has it.
    ports.sort_by_cached_key(|port| format!("{}/{}", port.target, port.protocol));
    Ok(ports)
}

/// Whether it is an IP address.
pub(crate) fn is_ip(text: &str) -> bool {
    text.parse::<std::net::IpAddr>().is_ok()
}

fn range(text: &str) -> Option<(u16, u16)> {
    let (first, last) = match text.split_once('-') {
        Some((first, last)) => (port(first)?, port(last)?),
        None => (port(text)?, port(text)?),
    };
    (first <= last).then_some((first, last))
}

fn port(text: &str) -> Option<u16> {
    text.strip_prefix('+').unwrap_or(text).parse::<u16>().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_printed() {
        for (text, printed) in [
            ("1m30s", "1m30s"),
            ("90s", "1m30s"),
            ("1.5h", "1h30m0s"),
            ("2d", "48h0m0s"),
            ("100ms", "100ms"),
            ("1500us", "1.5ms"),
            ("3ns", "3ns"),
            ("0", "0s"),
            ("-10s", "-10s"),
            ("1s500ms", "1.5s"),
        ] {
            assert_eq!(duration(text).map(print_duration).as_deref(), Some(printed), "{text}");
        }
        for text in ["", "1", "s", "1x", "1 s", ".s", "99999999999h"] {
            assert_eq!(duration(text), None, "{text}");
        }
    }

    #[test]
    fn sizes_are_read() {
        for (text, size) in
            [("64m", 64 << 20), ("1.5kb", 1536), ("1 GiB", 1 << 30), ("512", 512), ("-1", -1), ("10B", 10)]
        {
            assert_eq!(bytes(text), Some(size), "{text}");
        }
        for text in ["", "m", "1x", "1kbb", "-1m", "one"] {
            assert_eq!(bytes(text), None, "{text}");
        }
    }

    fn short(text: &str) -> Vec<String> {
        ports(text)
            .unwrap()
            .into_iter()
            .map(|p| format!("{}|{}|{}/{}", p.host_ip, p.published, p.target, p.protocol))
            .collect()
    }

    #[test]
    fn ports_are_read() {
        assert_eq!(short("80"), ["||80/tcp"]);
        assert_eq!(short("8080:80/UDP"), ["|8080|80/udp"]);
        assert_eq!(short("127.0.0.1::80"), ["127.0.0.1||80/tcp"]);
        assert_eq!(short("[::1]:1:2"), ["::1|1|2/tcp"]);
        assert_eq!(short("8000-9000:80"), ["|8000-9000|80/tcp"]);
        assert_eq!(short("9-10:99-100"), ["|10|100/tcp", "|9|99/tcp"]);
        for text in ["", "a", "1:2:3", "80/x", "1-2:3-5", "70000", "2-1", "1:", "x:80"] {
            assert!(ports(text).is_err(), "{text}");
        }
    }
}
