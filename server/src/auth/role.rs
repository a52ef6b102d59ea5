//! What callers may do: their roles, and the needs of routes.

use std::fmt;
use std::str::FromStr;

/// What a user or an API key may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Look at everything.
    Readonly,
    /// Look, and make: jobs, posts, accounts, publications; cancel.
    Producer,
    /// Look, and run: dead letters, queues, breakers, unknown outcomes; cancel.
    Operator,
    /// Everything.
    Admin,
}

/// What a route takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Anybody who is known: it shows something, or concerns the caller alone.
    Read,
    /// Whoever makes jobs or runs them.
    Cancel,
    /// Whoever makes something.
    Produce,
    /// Whoever runs the fleet.
    Operate,
}

impl Role {
    /// Every role, the least first.
    pub const ALL: [Self; 4] = [Self::Readonly, Self::Producer, Self::Operator, Self::Admin];

    /// Whether the role is enough.
    pub const fn may(self, need: Need) -> bool {
        match (self, need) {
            (Self::Admin, _)
            | (_, Need::Read)
            | (Self::Producer, Need::Produce | Need::Cancel)
            | (Self::Operator, Need::Operate | Need::Cancel) => true,
            (Self::Readonly | Self::Producer | Self::Operator, _) => false,
        }
    }

    /// The name in the API and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Readonly => "readonly",
            Self::Producer => "producer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names = Self::ALL.map(Self::as_str).join(", ");
        let found = Self::ALL.into_iter().find(|role| role.as_str() == text);
        found.ok_or_else(|| format!("must be one of {names}"))
    }
}

impl Need {
    /// The roles that are enough, as in "producer or admin".
    pub fn roles(self) -> String {
        let enough: Vec<_> = Role::ALL.into_iter().filter(|role| role.may(self)).collect();
        enough.iter().map(|role| role.as_str()).collect::<Vec<_>>().join(" or ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_role_may_do_what_it_is_for_and_nothing_else() {
        let may = |role: Role| {
            [Need::Read, Need::Cancel, Need::Produce, Need::Operate].map(|need| role.may(need))
        };
        assert_eq!(may(Role::Readonly), [true, false, false, false]);
        assert_eq!(may(Role::Producer), [true, true, true, false]);
        assert_eq!(may(Role::Operator), [true, true, false, true]);
        assert_eq!(may(Role::Admin), [true; 4]);
        assert_eq!(Need::Produce.roles(), "producer or admin");
        for role in Role::ALL {
            assert_eq!(role.as_str().parse::<Role>(), Ok(role));
        }
        assert!("Admin".parse::<Role>().unwrap_err().contains("readonly, producer"));
    }
}
