//! The defects put in on purpose, and which order has which.
//!
//! Orders are cut into periods of at least 10,000; in every period each defect of the list falls on one order, evenly spread. So a small
//! data set has each once, and those that lead to quarantine stay at or below three orders or 0.05 %.

/// Orders in a period.
const PERIOD_MIN: u64 = 10_000;

/// What is wrong, or merely unusual, with an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Defect {
    QuantityText,
    DateText,
    DecimalsTooMany,
    DateOutOfRange,
    DecimalNotANumber,
    StaleDuplicateBefore,
    StaleDuplicateAfter,
    ExactRepeat,
    SameInstantDuplicate,
    QuantityLong,
    QuantityDouble,
    StoreIdLong,
    SchemaVersionDouble,
    MoneyInteger,
    StarsLong,
    LateUpdate,
    OrphanCapture,
    MissingCapture,
    DoubleCapture,
    AmountMismatch,
    RefundOverTotal,
    ItemName256Bytes,
    Notes257Bytes,
    Emoji,
    ExtraField,
    ExtraNestedField,
    DeliveredAtNull,
    DeliveredAtMissing,
    CustomerBinary,
    CustomerText,
}

use Defect::{
    AmountMismatch, CustomerBinary, CustomerText, DateOutOfRange, DateText, DecimalNotANumber, DecimalsTooMany, DeliveredAtMissing,
    DeliveredAtNull, DoubleCapture, Emoji, ExactRepeat, ExtraField, ExtraNestedField, ItemName256Bytes, LateUpdate, MissingCapture,
    MoneyInteger, Notes257Bytes, OrphanCapture, QuantityDouble, QuantityLong, QuantityText, RefundOverTotal, SameInstantDuplicate,
    SchemaVersionDouble, StaleDuplicateAfter, StaleDuplicateBefore, StarsLong, StoreIdLong,
};

/// The defects of a period, the most important first: a data set of very few orders has only these.
const SLOTS: [Defect; 34] = [
    QuantityText,
    StaleDuplicateBefore,
    DateText,
    OrphanCapture,
    DecimalsTooMany,
    MissingCapture,
    ExactRepeat,
    LateUpdate,
    QuantityLong,
    DoubleCapture,
    StaleDuplicateAfter,
    RefundOverTotal,
    ExtraField,
    AmountMismatch,
    QuantityDouble,
    ItemName256Bytes,
    SameInstantDuplicate,
    DeliveredAtNull,
    Notes257Bytes,
    DeliveredAtMissing,
    StoreIdLong,
    Emoji,
    LateUpdate,
    SchemaVersionDouble,
    StaleDuplicateBefore,
    CustomerBinary,
    MoneyInteger,
    ExtraNestedField,
    CustomerText,
    StarsLong,
    LateUpdate,
    ExtraField,
    StaleDuplicateAfter,
    Emoji,
];

/// Further ones for data sets that are large enough to keep the share of quarantined orders at 0.05 %.
const LARGE_SLOTS: [Defect; 2] = [DateOutOfRange, DecimalNotANumber];

/// Which order has which defect.
#[derive(Debug)]
pub(crate) struct Plan {
    period: u64,
    periods: u64,
    /// Position within a period and the defect there, by position.
    positions: Vec<(u64, Defect)>,
}

impl Plan {
    pub(crate) fn new(orders: u64) -> Self {
        let periods = (orders / PERIOD_MIN).max(1);
        let period = orders / periods;
        let mut slots = SLOTS.to_vec();
        if orders >= PERIOD_MIN {
            slots.extend(LARGE_SLOTS);
        }
        slots.truncate(usize::try_from(period).unwrap_or(usize::MAX));
        let count = slots.len() as u64;
        let positions = (0..count).map(|slot| (2 * slot + 1) * period / (2 * count)).zip(slots).collect();
        Self { period, periods, positions }
    }

    /// The defect of the order with this number.
    pub(crate) fn of(&self, ordinal: u64) -> Option<Defect> {
        if ordinal / self.period >= self.periods {
            return None;
        }
        let found = self.positions.binary_search_by_key(&(ordinal % self.period), |(position, _)| *position).ok()?;
        Some(self.positions[found].1)
    }
}

impl Defect {
    /// Its name in the answers.
    pub(crate) fn kind(self) -> &'static str {
        match self {
            QuantityText => "quantity_as_text",
            DateText => "date_as_text",
            DecimalsTooMany => "decimals_too_many",
            DateOutOfRange => "date_out_of_range",
            DecimalNotANumber => "decimal_not_a_number",
            StaleDuplicateBefore => "stale_duplicate_before",
            StaleDuplicateAfter => "stale_duplicate_after",
            ExactRepeat => "exact_repeat",
            SameInstantDuplicate => "same_instant_duplicate",
            QuantityLong => "quantity_as_int64",
            QuantityDouble => "quantity_as_double",
            StoreIdLong => "store_id_as_int64",
            SchemaVersionDouble => "schema_version_as_double",
            MoneyInteger => "money_as_int32",
            StarsLong => "stars_as_int64",
            LateUpdate => "late_update",
            OrphanCapture => "capture_without_order",
            MissingCapture => "order_without_capture",
            DoubleCapture => "double_capture",
            AmountMismatch => "amount_mismatch",
            RefundOverTotal => "refund_over_total",
            ItemName256Bytes => "text_of_256_bytes",
            Notes257Bytes => "text_of_255_bytes_and_a_letter",
            Emoji => "emoji",
            ExtraField => "undeclared_field",
            ExtraNestedField => "undeclared_nested_field",
            DeliveredAtNull => "delivered_at_null",
            DeliveredAtMissing => "delivered_at_missing",
            CustomerBinary => "customer_id_as_binary",
            CustomerText => "customer_id_as_text",
        }
    }

    /// What a correct reader makes of it.
    pub(crate) fn expect(self) -> &'static str {
        match self {
            QuantityText => "quarantined: items[].quantity is a string",
            DateText => "quarantined: deliveredAt is a string",
            DecimalsTooMany => "quarantined: items[].unitPrice is a double with three decimals",
            DateOutOfRange => "quarantined: promisedAt is outside the range of timestamps",
            DecimalNotANumber => "quarantined: totals.tip is a Decimal128 NaN",
            StaleDuplicateBefore => "deduplicated: the later document counts, it has the greater updatedAt",
            StaleDuplicateAfter => "deduplicated: the earlier document counts, it has the greater updatedAt",
            ExactRepeat => "deduplicated: the document is there twice",
            SameInstantDuplicate => "deduplicated: updatedAt is equal, the later document counts",
            QuantityLong => "converted: items[].quantity is an int64",
            QuantityDouble => "converted: items[].quantity is a double without fraction",
            StoreIdLong => "converted: storeId is an int64",
            SchemaVersionDouble => "converted: schemaVersion is a double without fraction",
            MoneyInteger => "converted: totals.tip is an int32",
            StarsLong => "converted: rating.stars is an int64",
            LateUpdate => "read: updatedAt lies days after placedAt",
            OrphanCapture => "a row of payments whose order_id has no order",
            MissingCapture => "a completed order without a succeeded capture",
            DoubleCapture => "a completed order with two succeeded captures",
            AmountMismatch => "the capture's amount is not the order's total",
            RefundOverTotal => "refunds exceed the total: revenue is negative",
            ItemName256Bytes => "kept whole: items[].name has 256 bytes in UTF-8, and fewer characters",
            Notes257Bytes => "kept whole: delivery.notes has 255 bytes and then a letter of two",
            Emoji => "kept whole: delivery.notes and rating.comment have letters of four bytes",
            ExtraField => "fields that nobody declared are kept in _extra",
            ExtraNestedField => "a field of delivery that nobody declared is kept in _extra",
            DeliveredAtNull => "delivered_at is null: deliveredAt is null",
            DeliveredAtMissing => "delivered_at is null: deliveredAt is missing",
            CustomerBinary => "customer_id is text: customerId is a Binary of subtype 4",
            CustomerText => "customer_id is text: customerId is a string",
        }
    }

    /// The table it shows in.
    pub(crate) fn table(self) -> &'static str {
        match self {
            OrphanCapture | DoubleCapture | AmountMismatch | MissingCapture | RefundOverTotal => "platform.transactions",
            _ => "shop.orders",
        }
    }

    /// Whether the order cannot be read and so is in no mart.
    pub(crate) fn is_quarantined(self) -> bool {
        matches!(self, QuantityText | DateText | DecimalsTooMany | DateOutOfRange | DecimalNotANumber)
    }

    /// Whether the dump holds a second document of the order.
    pub(crate) fn is_duplicated(self) -> bool {
        matches!(self, StaleDuplicateBefore | StaleDuplicateAfter | ExactRepeat | SameInstantDuplicate)
    }

    /// The schema version the order must have for it.
    pub(crate) fn version(self) -> Option<i32> {
        match self {
            DecimalsTooMany => Some(1),
            MoneyInteger | DecimalNotANumber => Some(3),
            Notes257Bytes | Emoji => Some(2),
            _ => None,
        }
    }

    /// Whether only a delivered order of a registered customer, paid by card, shows it.
    pub(crate) fn needs_plain_delivery(self) -> bool {
        matches!(
            self,
            DateText
                | DateOutOfRange
                | StaleDuplicateBefore
                | StaleDuplicateAfter
                | SameInstantDuplicate
                | MoneyInteger
                | StarsLong
                | LateUpdate
                | MissingCapture
                | DoubleCapture
                | AmountMismatch
                | RefundOverTotal
                | Notes257Bytes
                | Emoji
                | ExtraNestedField
                | DeliveredAtNull
                | DeliveredAtMissing
                | CustomerBinary
                | CustomerText
        )
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_defect_occurs_and_quarantine_is_rare() {
        for orders in [40_u64, 2_700, 9_999, 10_000, 25_000, 300_001] {
            let plan = Plan::new(orders);
            let found: Vec<Defect> = (0..orders).filter_map(|ordinal| plan.of(ordinal)).collect();
            let kinds: BTreeSet<Defect> = found.iter().copied().collect();
            assert!(SLOTS.iter().all(|defect| kinds.contains(defect)), "{orders} orders");
            let quarantined = found.iter().filter(|defect| defect.is_quarantined()).count() as u64;
            assert!(quarantined >= 3);
            assert!(quarantined <= (orders / 2_000).max(3), "{quarantined} of {orders}");
        }
    }

    #[test]
    fn the_smallest_data_sets_have_what_fits() {
        let plan = Plan::new(1);
        assert_eq!(plan.of(0), Some(QuantityText));
        let plan = Plan::new(5);
        assert!((0..5).all(|ordinal| plan.of(ordinal).is_some()));
    }
}
