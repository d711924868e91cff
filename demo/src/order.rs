//! The facts of one order, in the words of the chain.

use chrono::NaiveDate;

use crate::city::{Currency, Place};
use crate::defect::Defect;
use crate::random::{Random, Topic};

/// How far an order has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    Placed,
    Accepted,
    Preparing,
    OnTheWay,
    Delivered,
    PickedUp,
    Cancelled,
    Failed,
    Refunded,
}

impl Status {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Placed => "placed",
            Self::Accepted => "accepted",
            Self::Preparing => "preparing",
            Self::OnTheWay => "on_the_way",
            Self::Delivered => "delivered",
            Self::PickedUp => "picked_up",
            Self::Cancelled => "cancelled",
            Self::Failed => "failed",
            Self::Refunded => "refunded",
        }
    }

    pub(crate) fn is_completed(self) -> bool {
        matches!(self, Self::Delivered | Self::PickedUp)
    }

    pub(crate) fn is_cancelled(self) -> bool {
        matches!(self, Self::Cancelled | Self::Failed)
    }

    pub(crate) fn is_open(self) -> bool {
        matches!(self, Self::Placed | Self::Accepted | Self::Preparing | Self::OnTheWay)
    }
}

/// How the meal reaches the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fulfilment {
    Delivery,
    Pickup,
    DineIn,
}

impl Fulfilment {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Delivery => "delivery",
            Self::Pickup => "pickup",
            Self::DineIn => "dine_in",
        }
    }
}

/// One line of an order. Amounts are hundredths of the order's currency.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    /// Position in [`PRODUCTS`].
    pub(crate) product: usize,
    /// A name other than the product's.
    pub(crate) name: Option<String>,
    pub(crate) quantity: i32,
    pub(crate) unit_price: i64,
    /// Name and price of each extra.
    pub(crate) modifiers: Vec<(&'static str, i64)>,
    pub(crate) discount: i64,
}

impl Line {
    pub(crate) fn modifiers_amount(&self) -> i64 {
        self.modifiers.iter().map(|(_, price)| price).sum()
    }

    pub(crate) fn total(&self) -> i64 {
        i64::from(self.quantity) * (self.unit_price + self.modifiers_amount()) - self.discount
    }
}

/// The amounts of an order, in hundredths of its currency.
#[derive(Debug, Clone, Default)]
pub(crate) struct Totals {
    pub(crate) subtotal: i64,
    pub(crate) discount: i64,
    pub(crate) delivery_fee: i64,
    pub(crate) service_fee: i64,
    pub(crate) tip: i64,
    pub(crate) tax: i64,
    pub(crate) total: i64,
}

/// Where an order goes.
#[derive(Debug, Clone)]
pub(crate) struct Destination {
    pub(crate) street: String,
    pub(crate) postcode: String,
    /// Missing in version 1, and now and then later.
    pub(crate) place: Option<Place>,
    /// Where it truly is: the courier knows, whatever the document says.
    pub(crate) dropoff: Place,
    pub(crate) zone: Option<String>,
    pub(crate) notes: Option<String>,
    pub(crate) floor: Option<i32>,
}

/// When an order arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arrival {
    At(i64),
    /// The field is there and holds null.
    Null,
    /// The field is not there.
    Missing,
}

impl Arrival {
    pub(crate) fn instant_ms(self) -> Option<i64> {
        match self {
            Self::At(instant_ms) => Some(instant_ms),
            Self::Null | Self::Missing => None,
        }
    }
}

/// A guest's opinion.
#[derive(Debug, Clone)]
pub(crate) struct Rating {
    pub(crate) stars: i32,
    pub(crate) comment: Option<String>,
    pub(crate) at_ms: i64,
}

/// Money given back.
#[derive(Debug, Clone)]
pub(crate) struct Refund {
    pub(crate) amount: i64,
    pub(crate) at_ms: i64,
    pub(crate) succeeded: bool,
    /// Whether it belongs to the day after the base data set.
    pub(crate) late: bool,
}

/// One order. Instants are milliseconds since 1970.
#[derive(Debug, Clone)]
pub(crate) struct Order {
    pub(crate) ordinal: u64,
    pub(crate) id: [u8; 12],
    pub(crate) number: String,
    pub(crate) version: i32,
    pub(crate) customer: Option<u64>,
    /// Whether the customer's id is a Binary rather than text.
    pub(crate) customer_is_binary: bool,
    /// Position in the world's stores.
    pub(crate) store: usize,
    pub(crate) channel: &'static str,
    pub(crate) fulfilment: Fulfilment,
    pub(crate) status: Status,
    pub(crate) history: Vec<(Status, i64, Option<&'static str>)>,
    pub(crate) placed_ms: i64,
    pub(crate) promised_ms: Option<i64>,
    pub(crate) arrival: Arrival,
    /// When the courier handed it over, if at all, whatever the document says.
    pub(crate) handed_over_ms: Option<i64>,
    pub(crate) updated_ms: i64,
    pub(crate) business_date: NaiveDate,
    pub(crate) lines: Vec<Line>,
    pub(crate) totals: Totals,
    pub(crate) currency: Currency,
    pub(crate) delivery: Option<Destination>,
    pub(crate) promotions: Vec<(&'static str, i64)>,
    pub(crate) rating: Option<Rating>,
    pub(crate) device: u64,
    pub(crate) refunds: Vec<Refund>,
    pub(crate) defect: Option<Defect>,
    /// Whether it is new or was edited during the day after the base data set.
    pub(crate) changed: bool,
    /// Whether it was placed during the day after the base data set.
    pub(crate) is_new: bool,
    /// When an edit raised the total and so the capture, and by how much.
    pub(crate) recaptured_ms: Option<i64>,
    pub(crate) tip_added: i64,
    /// Whether the order was open in the base data set and was closed by the edit.
    pub(crate) closed_late: bool,
}

impl Order {
    /// Succeeded refunds.
    pub(crate) fn refunded(&self) -> i64 {
        self.refunds.iter().filter(|refund| refund.succeeded).map(|refund| refund.amount).sum()
    }

    pub(crate) fn revenue(&self) -> i64 {
        if self.status.is_completed() { self.totals.total - self.totals.tip - self.refunded() } else { 0 }
    }

    pub(crate) fn is_late(&self) -> bool {
        self.status.is_completed() && self.arrival.instant_ms().zip(self.promised_ms).is_some_and(|(arrived, promised)| arrived > promised)
    }

    pub(crate) fn is_quarantined(&self) -> bool {
        self.defect.is_some_and(Defect::is_quarantined)
    }

    /// The first time a status was reached.
    pub(crate) fn reached_ms(&self, status: Status) -> Option<i64> {
        self.history.iter().find(|(reached, ..)| *reached == status).map(|(_, at, _)| *at)
    }

    pub(crate) fn id_text(&self) -> String {
        hex::encode(self.id)
    }
}

/// An ObjectId as a driver makes it: seconds, five bytes of a process, a counter.
pub(crate) fn object_id(seed: u64, ordinal: u64, placed_ms: i64) -> [u8; 12] {
    let mut id = [0; 12];
    let seconds = u32::try_from(placed_ms / 1_000).unwrap_or(u32::MAX);
    id[..4].copy_from_slice(&seconds.to_be_bytes());
    let process = Random::new(seed, Topic::OrderId, ordinal >> 24).bytes::<5>();
    id[4..9].copy_from_slice(&process);
    let counter = (ordinal & 0xff_ffff) as u32;
    id[9..].copy_from_slice(&counter.to_be_bytes()[1..]);
    id
}
