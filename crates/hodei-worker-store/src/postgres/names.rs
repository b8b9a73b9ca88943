use sha2::{Digest as _, Sha256};

/// What an installation's things are called in a database.
#[derive(Debug, Clone)]
pub(super) struct Names {
    /// The schema, quoted.
    pub(super) schema: String,
    /// The channel of its notifications.
    pub(super) channel: String,
    /// The lock that is held to draw positions.
    pub(super) draw: i64,
    /// The class of the locks by which writers are known.
    pub(super) writers: i32,
    /// The lock that is held to migrate.
    pub(super) migrate: i64,
}

impl Names {
    pub(super) fn new(schema: &str) -> Self {
        // Locks are numbered, and shared by all of a database.
        let hash: [u8; 32] = Sha256::digest(format!("hodei-worker/{schema}")).into();
        let number = |at: usize| {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&hash[at..at + 8]);
            i64::from_be_bytes(bytes)
        };
        Self {
            schema: format!("\"{schema}\""),
            channel: format!("\"hodei:{schema}\""),
            draw: number(0),
            writers: (number(8) >> 32) as i32,
            migrate: number(16),
        }
    }

    /// Fills the names into SQL.
    pub(super) fn fill(&self, sql: &str) -> String {
        sql.replace("{schema}", &self.schema)
            .replace("{draw}", &self.draw.to_string())
            .replace("{writers}", &self.writers.to_string())
    }
}
