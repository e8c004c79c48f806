//! What an aggregate computes, as state is named by: what was written, down to the columns of the operator below.
//!
//! The text has neither the places of columns nor the names that views give them, nor the casts that planning puts where
//! types differ. So it stays when a column moves or its type changes; what changes then are the types beside it.

use arrow::datatypes::DataType;

/// A call of an aggregate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Called {
    pub function: String,
    pub distinct: bool,
    pub arguments: Vec<Argument>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Argument {
    pub text: String,
    /// The text without any cast.
    pub bare: String,
    /// The type of its values.
    pub value: DataType,
    /// The type that the aggregate is given them as.
    pub taken_as: DataType,
    /// What is computed or compared inside, in the order of the text.
    pub operands: Vec<Operand>,
}

/// A value inside an expression that another one is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operand {
    pub data_type: DataType,
    pub used: Used,
}

/// What an expression does with a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Used {
    /// Computes another value of it, which depends on the type: an integer is divided otherwise than a decimal.
    Computed,
    /// Compares it: whether a row counts was decided when it came.
    Compared,
}

impl Called {
    /// Such as `sum(amount)`.
    pub fn text(&self) -> String {
        self.with(|argument| &argument.text)
    }

    /// The text without any cast.
    pub fn bare(&self) -> String {
        self.with(|argument| &argument.bare)
    }

    fn with(&self, text: impl Fn(&Argument) -> &String) -> String {
        let distinct = if self.distinct { "DISTINCT " } else { "" };
        let arguments: Vec<&str> = self.arguments.iter().map(|argument| text(argument).as_str()).collect();
        format!("{}({distinct}{})", self.function, arguments.join(", "))
    }
}
