//! The tables: their names in the sources and in the lake, and the statements that make them.

/// A table or collection that is generated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Table {
    Orders,
    Stores,
    Products,
    Promotions,
    Couriers,
    Transactions,
    Deliveries,
    Ledger,
    Customers,
    Accounts,
}

/// All of PostgreSQL's, in the order they are written.
pub(crate) const RELATIONS: [Table; 9] = [
    Table::Stores,
    Table::Products,
    Table::Promotions,
    Table::Couriers,
    Table::Transactions,
    Table::Deliveries,
    Table::Ledger,
    Table::Customers,
    Table::Accounts,
];

/// How many tables there are with the collection.
pub(crate) const TABLES: usize = RELATIONS.len() + 1;

impl Table {
    /// Its name in PostgreSQL with the schema; the collection's with its database.
    pub(crate) fn source_name(self) -> &'static str {
        match self {
            Self::Orders => "shop.orders",
            Self::Stores => "admin.stores",
            Self::Products => "admin.products",
            Self::Promotions => "admin.promotions",
            Self::Couriers => "delivery.couriers",
            Self::Transactions => "payments.transactions",
            Self::Deliveries => "delivery.deliveries",
            Self::Ledger => "loyalty.ledger",
            Self::Customers => "admin.customers",
            Self::Accounts => "loyalty.accounts",
        }
    }

    /// Its name where models read it.
    pub(crate) fn lake_name(self) -> &'static str {
        match self {
            Self::Orders => "shop.orders",
            Self::Stores => "platform.stores",
            Self::Products => "platform.products",
            Self::Promotions => "platform.promotions",
            Self::Couriers => "platform.couriers",
            Self::Transactions => "platform.transactions",
            Self::Deliveries => "platform.deliveries",
            Self::Ledger => "platform.loyalty_ledger",
            Self::Customers => "platform.customers",
            Self::Accounts => "platform.loyalty_accounts",
        }
    }

    /// The primary key.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::Orders => "_id",
            Self::Products => "sku",
            Self::Promotions => "code",
            Self::Accounts => "customer_id",
            _ => "id",
        }
    }

    /// Every column but the key.
    pub(crate) fn other_columns(self) -> Vec<&'static str> {
        self.columns().iter().map(|(name, _)| *name).filter(|name| *name != self.key()).collect()
    }

    /// Columns and their types.
    pub(crate) fn columns(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Orders => &[],
            Self::Transactions => &[
                ("id", "bigint PRIMARY KEY"),
                ("order_id", "text NOT NULL"),
                ("customer_id", "uuid"),
                ("kind", "payments.transaction_kind NOT NULL"),
                ("status", "payments.transaction_status NOT NULL"),
                ("method", "payments.payment_method NOT NULL"),
                ("provider", "text"),
                ("amount", "numeric(12,2) NOT NULL"),
                ("fee", "numeric(12,4) NOT NULL"),
                ("currency", "char(3) NOT NULL"),
                ("provider_payload", "jsonb"),
                ("created_at", "timestamptz NOT NULL"),
                ("updated_at", "timestamptz NOT NULL"),
            ],
            Self::Deliveries => &[
                ("id", "bigint PRIMARY KEY"),
                ("order_id", "text NOT NULL"),
                ("store_id", "int NOT NULL"),
                ("courier_id", "int"),
                ("status", "delivery.delivery_status NOT NULL"),
                ("assigned_at", "timestamptz"),
                ("picked_up_at", "timestamptz"),
                ("delivered_at", "timestamptz"),
                ("promised_at", "timestamptz"),
                ("distance_m", "int"),
                ("dropoff", "point"),
                ("cost", "numeric(10,2)"),
                ("updated_at", "timestamptz NOT NULL"),
            ],
            Self::Couriers => &[
                ("id", "int PRIMARY KEY"),
                ("name", "text NOT NULL"),
                ("vehicle", "delivery.vehicle NOT NULL"),
                ("home_store_id", "int"),
                ("active", "boolean NOT NULL"),
                ("updated_at", "timestamptz NOT NULL"),
            ],
            Self::Accounts => &[
                ("customer_id", "uuid PRIMARY KEY"),
                ("tier", "loyalty.tier NOT NULL"),
                ("points_balance", "int NOT NULL"),
                ("joined_on", "date NOT NULL"),
                ("updated_at", "timestamptz NOT NULL"),
            ],
            Self::Ledger => &[
                ("id", "bigint PRIMARY KEY"),
                ("customer_id", "uuid NOT NULL"),
                ("order_id", "text"),
                ("points", "int NOT NULL"),
                ("reason", "text NOT NULL"),
                ("created_at", "timestamptz NOT NULL"),
            ],
            Self::Customers => &[
                ("id", "uuid PRIMARY KEY"),
                ("email", "text"),
                ("phone", "text"),
                ("first_name", "text"),
                ("last_name", "text"),
                ("birth_date", "date"),
                ("locale", "text"),
                ("time_zone", "text"),
                ("marketing_opt_in", "boolean NOT NULL"),
                ("tags", "text[]"),
                ("created_at", "timestamptz NOT NULL"),
                ("updated_at", "timestamptz NOT NULL"),
                ("deleted_at", "timestamptz"),
            ],
            Self::Stores => &[
                ("id", "int PRIMARY KEY"),
                ("name", "text NOT NULL"),
                ("brand", "text"),
                ("city", "text NOT NULL"),
                ("country", "text NOT NULL"),
                ("time_zone", "text NOT NULL"),
                ("lat", "double precision NOT NULL"),
                ("lng", "double precision NOT NULL"),
                ("delivery_radius_m", "int NOT NULL"),
                ("opened_on", "date NOT NULL"),
                ("closed_on", "date"),
                ("opening_hours", "jsonb"),
                ("updated_at", "timestamptz NOT NULL"),
            ],
            Self::Products => &[
                ("sku", "text PRIMARY KEY"),
                ("name", "text NOT NULL"),
                ("category", "text NOT NULL"),
                ("price", "numeric(10,2) NOT NULL"),
                ("available", "boolean NOT NULL"),
                ("updated_at", "timestamptz NOT NULL"),
            ],
            Self::Promotions => &[
                ("code", "text PRIMARY KEY"),
                ("kind", "admin.promotion_kind NOT NULL"),
                ("value", "numeric(10,2)"),
                ("min_basket", "numeric(10,2)"),
                ("starts_on", "date NOT NULL"),
                ("ends_on", "date"),
                ("budget", "numeric(12,2)"),
                ("updated_at", "timestamptz NOT NULL"),
            ],
        }
    }
}

/// PostgreSQL's schemas.
pub(crate) const SCHEMAS: [&str; 4] = ["payments", "delivery", "loyalty", "admin"];

/// Its enum types and their values.
pub(crate) const TYPES: [(&str, &[&str]); 7] = [
    ("payments.transaction_kind", &["authorization", "capture", "refund", "chargeback"]),
    ("payments.transaction_status", &["pending", "succeeded", "failed"]),
    ("payments.payment_method", &["card", "blik", "cash", "wallet", "points"]),
    ("delivery.delivery_status", &["assigned", "picked_up", "delivered", "cancelled", "failed"]),
    ("delivery.vehicle", &["bike", "scooter", "car"]),
    ("loyalty.tier", &["bronze", "silver", "gold"]),
    ("admin.promotion_kind", &["percent", "amount", "free_delivery"]),
];

/// The statements that make schemas, types and tables.
pub(crate) fn create_tables() -> String {
    let mut sql = String::new();
    for schema in SCHEMAS {
        sql.push_str(&format!("CREATE SCHEMA IF NOT EXISTS {schema};\n"));
    }
    sql.push('\n');
    for (name, values) in TYPES {
        let values: Vec<String> = values.iter().map(|value| format!("'{value}'")).collect();
        sql.push_str(&format!("CREATE TYPE {name} AS ENUM ({});\n", values.join(", ")));
    }
    for table in RELATIONS {
        let columns: Vec<String> = table.columns().iter().map(|(name, kind)| format!("    {name} {kind}")).collect();
        sql.push_str(&format!("\nCREATE TABLE {} (\n{}\n);\n", table.source_name(), columns.join(",\n")));
    }
    sql
}

/// The statements that make indexes: after the rows are in, which is faster.
pub(crate) fn create_indexes() -> String {
    let mut sql = String::new();
    for table in RELATIONS {
        let cursor = if table == Table::Ledger { "created_at" } else { "updated_at" };
        sql.push_str(&format!("CREATE INDEX ON {} ({cursor});\n", table.source_name()));
    }
    for table in [Table::Transactions, Table::Deliveries] {
        sql.push_str(&format!("CREATE INDEX ON {} (order_id);\n", table.source_name()));
    }
    sql
}

/// The statements that take away what [`create_tables`] makes, and nothing else.
pub(crate) fn drop_tables() -> String {
    let mut sql = String::new();
    for table in RELATIONS {
        sql.push_str(&format!("DROP TABLE IF EXISTS {};\n", table.source_name()));
    }
    for (name, _) in TYPES {
        sql.push_str(&format!("DROP TYPE IF EXISTS {name};\n"));
    }
    sql
}
