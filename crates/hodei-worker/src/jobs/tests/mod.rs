mod registry;
mod reports;
