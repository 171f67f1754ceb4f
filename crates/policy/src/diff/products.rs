//! Combinations of facts as products: of each axis some classes.

use super::*;

/// One combination: who, and then the facts in the order of [`Axes`].
pub(super) type Point = [u16; AXES];
pub(super) const AXES: usize = 8;

/// Combinations that form a product: of each axis some classes, in order.
pub(super) type Product = [Vec<u16>; AXES];

pub(super) fn products(points: &[Point]) -> Vec<Product> {
    joined(points.iter().map(|point| point.map(|index| vec![index])).collect())
}

/// Joins products that differ on one axis only, axis by axis, until nothing more can be joined.
pub(super) fn joined(mut products: Vec<Product>) -> Vec<Product> {
    loop {
        let before = products.len();
        for axis in (0..AXES).rev() {
            products = joined_along(axis, products);
        }
        if products.len() == before {
            products.sort_unstable();
            return products;
        }
    }
}

pub(super) fn joined_along(axis: usize, products: Vec<Product>) -> Vec<Product> {
    let mut by_rest: BTreeMap<Product, BTreeSet<u16>> = BTreeMap::new();
    for mut product in products {
        let along = product.get_mut(axis).map(std::mem::take).unwrap_or_default();
        by_rest.entry(product).or_default().extend(along);
    }
    let put_back = |(mut product, along): (Product, BTreeSet<u16>)| {
        if let Some(place) = product.get_mut(axis) {
            *place = along.into_iter().collect();
        }
        product
    };
    by_rest.into_iter().map(put_back).collect()
}
