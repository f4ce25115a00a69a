//! What a scenario keeps, with its type for people.

/// What a scenario keeps for as long as the exploration.
pub(crate) struct Kept {
    from: usize,
    len: usize,
    what: &'static str,
}

impl Kept {
    pub(crate) fn new<T>(value: &T) -> Kept {
        Kept { from: std::ptr::from_ref(value).addr(), len: size_of::<T>(), what: std::any::type_name::<T>() }
    }

    pub(crate) fn holds(&self, place: usize) -> bool {
        (self.from..self.from + self.len).contains(&place)
    }

    /// Where in it a place is.
    pub(crate) const fn offset(&self, place: usize) -> usize {
        place - self.from
    }

    /// The type's name, without where it is from, what it holds, and how many there are.
    pub(crate) fn short(&self) -> &'static str {
        let inner = self.what.trim_start_matches('[');
        let end = inner.find(['<', ';']).unwrap_or(inner.len());
        inner[..end].rsplit("::").next().unwrap_or(inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_short() {
        let short = |what| Kept { from: 0, len: 0, what }.short();
        assert_eq!(short("[standstill::call::Csd<standstill_model::port::Model>; 2]"), "Csd");
        assert_eq!(short("[[standstill::call::Csd<a::B>; 2]; 3]"), "Csd");
        assert_eq!(short("usize"), "usize");
    }
}
