//! Columns that planning puts between a source's own: arguments and keys that are no plain column.

/// Name of the column that is computed by an expression.
pub fn computed_name(expression: &str) -> String {
    format!("$({expression})")
}

/// Whether a column has such a name.
pub fn is_computed(name: &str) -> bool {
    name.starts_with("$(") && name.ends_with(')')
}

/// Name of the computed column at `index` of its input, as programs gave it that named by place. Checkpoints have it.
pub fn positional_name(index: usize) -> String {
    format!("${index}")
}

/// Whether a column has such a name.
pub fn is_positional(name: &str) -> bool {
    name.strip_prefix('$').is_some_and(|index| !index.is_empty() && index.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn computed_columns_are_known_by_their_names() {
        assert!(is_computed(&computed_name("a * b")) && !is_computed(&positional_name(2)));
        assert!(is_positional(&positional_name(0)) && is_positional(&positional_name(120)));
        assert!(["$", "amount", "$price", "$1a", "1"].iter().all(|name| !is_computed(name) && !is_positional(name)));
    }
}
