//! Outlines of cells: from the lake's WKT, and cut where the map of longitudes ends.

/// A position: longitude, then latitude, in degrees.
pub(crate) type Position = [f64; 2];

/// Pieces smaller than this, in square degrees, are what rounding leaves of an edge on the 180th meridian.
const AREA_MIN: f64 = 1e-14;

/// The ring of a WKT polygon without holes, its last position the same as its first. None if it is none.
pub(crate) fn ring(wkt: &str) -> Option<Vec<Position>> {
    let text = wkt.strip_prefix("POLYGON")?.trim().strip_prefix("((")?.strip_suffix("))")?;
    let ring: Option<Vec<Position>> = text
        .split(',')
        .map(|pair| {
            let mut numbers = pair.split_whitespace().map(str::parse::<f64>);
            match (numbers.next(), numbers.next(), numbers.next()) {
                (Some(Ok(longitude)), Some(Ok(latitude)), None) => Some([longitude, latitude]),
                _ => None,
            }
        })
        .collect();
    ring.filter(|ring| ring.len() >= 4 && ring.first() == ring.last())
}

/// Cuts a ring that goes beyond ±180° into rings that do not (RFC 7946, 3.1.9). Each stays closed, and keeps its direction.
pub(crate) fn cut_at_antimeridian(ring: &[Position]) -> Vec<Vec<Position>> {
    let west = ring.iter().map(|position| position[0]).fold(f64::INFINITY, f64::min);
    let east = ring.iter().map(|position| position[0]).fold(f64::NEG_INFINITY, f64::max);
    if west >= -180.0 && east <= 180.0 {
        return vec![ring.to_vec()];
    }
    // Worlds beside the usual one: -1 is that from -540° to -180°.
    [-1.0, 0.0, 1.0].iter().filter_map(|world| piece(ring, 360.0 * world)).collect()
}

/// What of a ring lies within 180° of a meridian, moved to where that meridian is 0.
fn piece(ring: &[Position], middle: f64) -> Option<Vec<Position>> {
    let open = ring.split_last().map_or(ring, |(_, rest)| rest);
    let east = clip(open, |position| middle + 180.0 - position[0], middle + 180.0);
    let mut piece = clip(&east, |position| position[0] - (middle - 180.0), middle - 180.0);
    if area(&piece).abs() < AREA_MIN {
        return None;
    }
    for position in &mut piece {
        position[0] -= middle;
    }
    let first = *piece.first()?;
    piece.push(first);
    Some(piece)
}

/// Sutherland and Hodgman's clipping at one meridian: keeps where `inside` is not negative.
fn clip(open: &[Position], inside: impl Fn(&Position) -> f64, meridian: f64) -> Vec<Position> {
    let mut kept = Vec::with_capacity(open.len() + 2);
    for (index, position) in open.iter().enumerate() {
        let before = &open[(index + open.len() - 1) % open.len()];
        let (a, b) = (inside(before), inside(position));
        if (a < 0.0) != (b < 0.0) {
            let share = a / (a - b);
            kept.push([meridian, (position[1] - before[1]).mul_add(share, before[1])]);
        }
        if b >= 0.0 {
            kept.push(*position);
        }
    }
    kept.dedup();
    kept
}

/// Twice nothing of it matters: positive for a ring that goes counter-clockwise.
fn area(open: &[Position]) -> f64 {
    let next = open.iter().cycle().skip(1);
    open.iter().zip(next).map(|(a, b)| a[0].mul_add(b[1], -(b[0] * a[1]))).sum::<f64>() / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn closed_area(ring: &[Position]) -> f64 {
        assert_eq!(ring.first(), ring.last());
        area(&ring[..ring.len() - 1])
    }

    #[test]
    fn wkt_is_read() {
        assert_eq!(ring("POLYGON ((1 2, 3.5 2, 3.5 -4, 1 2))"), Some(vec![[1.0, 2.0], [3.5, 2.0], [3.5, -4.0], [1.0, 2.0]]));
        for wrong in ["", "POINT (1 2)", "POLYGON ((1 2, 3 4, 1 2))", "POLYGON ((1 2, 3 4, 5 6, 7 8))", "POLYGON ((1 x, 3 4, 5 6, 1 x))"] {
            assert_eq!(ring(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_ring_that_stays_within_the_world_stays_as_it_is() {
        let square = vec![[179.0, 0.0], [180.0, 0.0], [180.0, 1.0], [179.0, 1.0], [179.0, 0.0]];
        assert_eq!(cut_at_antimeridian(&square), vec![square]);
    }

    #[test]
    fn a_ring_across_the_antimeridian_becomes_two_that_are_as_large_together() {
        for (west, east) in [(179.5, 180.5), (-180.5, -179.5)] {
            let ring = vec![[west, 0.0], [east, 0.0], [east, 1.0], [west, 1.0], [west, 0.0]];
            let pieces = cut_at_antimeridian(&ring);
            assert_eq!(pieces.len(), 2);
            let areas: Vec<f64> = pieces.iter().map(|piece| closed_area(piece)).collect();
            assert!(areas.iter().all(|area| (area - 0.5).abs() < 1e-9), "{areas:?}: counter-clockwise, and half each");
            for piece in &pieces {
                assert!(piece.iter().all(|position| (-180.0..=180.0).contains(&position[0])));
                let width = piece.iter().map(|p| p[0]).fold(f64::MIN, f64::max) - piece.iter().map(|p| p[0]).fold(f64::MAX, f64::min);
                assert!(width < 1.0, "no band around the world: {piece:?}");
            }
        }
    }

    #[test]
    fn a_cell_around_the_pole_stays_one_area() {
        // Around the pole and closed along it, beginning at 20°: 340° of it lie in the usual world.
        let mut ring: Vec<Position> = (0..=6).map(|corner| [f64::from(corner).mul_add(60.0, 20.0), 89.0]).collect();
        ring.extend([[380.0, 90.0], [20.0, 90.0], [20.0, 89.0]]);
        let pieces = cut_at_antimeridian(&ring);
        assert_eq!(pieces.len(), 2);
        let total: f64 = pieces.iter().map(|piece| closed_area(piece)).sum();
        assert!((total - 360.0).abs() < 1e-9, "{total}");
    }

    #[test]
    fn touching_the_antimeridian_leaves_no_sliver() {
        let ring = vec![[180.0, 0.0], [180.5, 0.0], [180.5, 1.0], [180.0, 1.0], [180.0, 0.0]];
        let pieces = cut_at_antimeridian(&ring);
        assert_eq!(pieces.len(), 1);
        assert!(pieces[0].iter().all(|position| position[0] <= -179.5));
    }
}
