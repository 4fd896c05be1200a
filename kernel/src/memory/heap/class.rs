//! Size classes: which one serves a size, and how a frame is cut into objects of it.
//!
//! Pure arithmetic on constants, tested for every size and every offset. A slab is one frame:
//!
//! ```text
//! size >= 64:  | object 0 | object 1 | ...                | unused |   at most 64 objects: their bitmap is a word of the slab's record
//! size <  64:  | object 0 | object 1 | ...  | unused | map words   |   the bitmap is the frame's tail, the record says which words have a bit
//! ```

use crate::base::PAGE_SIZE;

/// Sizes of the classes in bytes, about two for each doubling. All but the first are multiples of 16, so any object of theirs has that
/// alignment; a power of two is aligned to itself.
pub const CLASS_SIZES: [usize; CLASSES] =
    [8, 16, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1360, 2048, 3072, 4096];
/// How many classes there are.
pub const CLASSES: usize = 17;
/// The class whose objects are cut by the first-fit list: in a frame of its own each would waste a quarter.
pub const LISTED: usize = 15;
/// The largest size that has a class.
pub const LARGEST: usize = 4096;

const GRAIN: usize = 16;

/// The class of each size, by sixteenths; the first entry is for sizes up to 8.
static CLASS_OF: [u8; LARGEST / GRAIN + 1] = {
    let mut table = [0; LARGEST / GRAIN + 1];
    let mut index = 1;
    while index < table.len() {
        let mut class = 0;
        while CLASS_SIZES[class] < index * GRAIN {
            class += 1;
        }
        #[expect(clippy::cast_possible_truncation, reason = "below 17")]
        {
            table[index] = class as u8;
        }
        index += 1;
    }
    table
};

/// The smallest class whose objects have `size` bytes; `size` is at most [`LARGEST`].
#[inline]
#[must_use]
pub fn class_of(size: usize) -> usize {
    // Sizes up to 8 find the first entry, all others round up.
    let index = if size <= 8 { 0 } else { size.div_ceil(GRAIN) };
    CLASS_OF.get(index).map_or(CLASSES - 1, |class| usize::from(*class))
}

/// How a frame is cut.
#[derive(Clone, Copy, Debug)]
pub struct Geometry {
    /// Bytes of an object.
    pub size: usize,
    /// Objects in a frame.
    pub objects: usize,
    /// Words of the bitmap at the frame's end; 0: it is in the record.
    pub map_words: usize,
    /// What an offset is multiplied with to divide it by the size, in 65536ths.
    reciprocal: u32,
}

impl Geometry {
    const fn new(size: usize) -> Self {
        let mut objects = PAGE_SIZE / size;
        let mut map_words = 0;
        if objects > 64 {
            map_words = objects.div_ceil(64);
            objects = (PAGE_SIZE - map_words * 8) / size;
        }
        #[expect(clippy::cast_possible_truncation, reason = "at most 8192")]
        let reciprocal = 65_536_usize.div_ceil(size) as u32;
        Self { size, objects, map_words, reciprocal }
    }

    /// The object that begins at `offset` in its frame; `None` where none does.
    #[inline]
    #[must_use]
    pub fn index_of(&self, offset: usize) -> Option<usize> {
        let index = (offset * self.reciprocal as usize) >> 16;
        (index * self.size == offset && index < self.objects).then_some(index)
    }
}

static GEOMETRY: [Geometry; CLASSES] = {
    let mut all = [Geometry::new(8); CLASSES];
    let mut class = 0;
    while class < CLASSES {
        all[class] = Geometry::new(CLASS_SIZES[class]);
        class += 1;
    }
    all
};

/// How frames of `class` are cut.
#[must_use]
pub fn geometry(class: usize) -> &'static Geometry {
    let [first, ..] = &GEOMETRY;
    GEOMETRY.get(class).unwrap_or(first)
}

/// Objects of a class that a CPU keeps at most.
pub(super) const fn capacity(class: usize) -> usize {
    match CLASS_SIZES[class] {
        0..=256 => 64,
        257..=1024 => 32,
        _ => 16,
    }
}

/// Objects of a class that are moved between a CPU and the slabs at a time.
pub(super) fn batch(class: usize) -> usize {
    static BATCHES: [u8; CLASSES] = {
        let mut batches = [0; CLASSES];
        let mut class = 0;
        while class < CLASSES {
            #[expect(clippy::cast_possible_truncation, reason = "at most 32")]
            {
                batches[class] = (capacity(class) / 2) as u8;
            }
            class += 1;
        }
        batches
    };
    BATCHES.get(class).map_or(1, |batch| usize::from(*batch))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_the_smallest_that_fit() {
        for size in 0..=LARGEST {
            let class = class_of(size);
            assert!(CLASS_SIZES[class] >= size);
            assert!(class == 0 || CLASS_SIZES[class - 1] < size, "size {size}");
        }
    }

    #[test]
    fn sizes_rise_and_keep_alignment() {
        assert!(CLASS_SIZES.is_sorted());
        assert!(CLASS_SIZES[1..].iter().all(|size| size % 16 == 0));
        assert_eq!(CLASS_SIZES[CLASSES - 1], LARGEST);
    }

    #[test]
    fn every_offset_finds_its_object_or_none() {
        for class in 0..CLASSES {
            let geometry = geometry(class);
            assert!(geometry.objects * geometry.size + geometry.map_words * 8 <= PAGE_SIZE);
            assert!(geometry.objects <= 64 || geometry.map_words * 64 >= geometry.objects);
            assert!(geometry.map_words <= 8 && geometry.objects < 512);
            for offset in 0..PAGE_SIZE {
                let expected = (offset % geometry.size == 0 && offset / geometry.size < geometry.objects)
                    .then(|| offset / geometry.size);
                assert_eq!(geometry.index_of(offset), expected, "class {class}, offset {offset}");
            }
        }
    }
}
