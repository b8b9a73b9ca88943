//! The ids of the contract.

/// Each section's letter and how many criteria it has.
const SECTIONS: [(char, u32); 9] =
    [('P', 10), ('L', 11), ('D', 11), ('K', 12), ('E', 11), ('A', 12), ('C', 13), ('S', 5), ('T', 7)];

/// Every id, in the contract's order.
pub(crate) fn ids() -> impl Iterator<Item = String> {
    SECTIONS.iter().flat_map(|(letter, count)| (1..=*count).map(move |number| format!("{letter}{number}")))
}

/// The place of an id in the contract.
pub(crate) fn position(id: &str) -> usize {
    ids().position(|other| other == id).unwrap_or(usize::MAX)
}

/// The ids that a test proves, from the start of its name: `p1_p3_name` proves P1 and P3.
pub(crate) fn proven_by(test: &str) -> Vec<String> {
    let words = test.split('_').map(str::to_uppercase);
    words.take_while(|word| position(word) != usize::MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_contract_has_92_criteria() {
        assert_eq!(ids().count(), 92);
        assert_eq!(ids().next().as_deref(), Some("P1"));
        assert_eq!(ids().last().as_deref(), Some("T7"));
    }

    #[test]
    fn a_test_proves_what_its_name_begins_with() {
        assert_eq!(proven_by("p6_breaker_opens"), ["P6"]);
        assert_eq!(proven_by("p1_d2_stop_d3"), ["P1", "D2"]);
        assert_eq!(proven_by("p11_not_in_the_contract"), Vec::<String>::new());
        assert_eq!(proven_by("opens_p6"), Vec::<String>::new());
    }
}
