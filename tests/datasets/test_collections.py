import json
from pathlib import Path

import numpy as np
import pytest

from tlg.datasets.coco import CocoInstances, coco_novel_classes
from tlg.datasets.episodes import IGNORED, EpisodesFile, open_image
from tlg.datasets.folder import IndexMapFolder, PairFolder
from tlg.datasets.fss import FSS1000
from tlg.datasets.pascal import PascalVOC, pascal_novel_classes
from tlg.datasets.sources import CocoSource, FssSource, IndexMapSource, PairSource, PascalSource
from tlg.errors import InputError, SpecError


def test_pascal_folds_are_five_classes_in_alphabetical_order():
    assert [pascal_novel_classes(fold)[0] for fold in range(4)] == [1, 6, 11, 16]
    assert sorted(c for fold in range(4) for c in pascal_novel_classes(fold)) == list(range(1, 21))
    with pytest.raises(SpecError, match="folds 0 to 3"):
        pascal_novel_classes(4)


def test_coco_folds_take_every_fourth_class():
    assert coco_novel_classes(1)[:3] == [2, 6, 10]
    assert sorted(c for fold in range(4) for c in coco_novel_classes(fold)) == list(range(1, 81))


def test_pascal_trains_on_every_augmented_mask_outside_val_and_scores_on_vocs_val_list(voc: Path):
    train, val = PascalVOC(voc, "train"), PascalVOC(voc, "val")
    assert len(train.photos) == len(val.photos) == 61
    assert not {photo.id for photo in train.photos} & {photo.id for photo in val.photos}
    assert train.photos[-1].classes == {1, 20}
    assert (val.label_map(val.photos[0])[:, 0] == IGNORED).all()


def test_pascal_without_sbd_uses_vocs_own_train_list(voc: Path, tmp_path: Path):
    for name in ("JPEGImages", "SegmentationClass", "ImageSets"):
        (tmp_path / name).symlink_to(voc / name)
    assert len(PascalVOC(tmp_path, "train").photos) == 31


def test_pascal_says_what_is_missing(tmp_path: Path):
    with pytest.raises(SpecError, match="expected a VOC2012 folder"):
        PascalVOC(tmp_path, "train")


def test_coco_classes_count_categories_in_order_whatever_their_ids(coco: Path):
    collection = CocoInstances(coco, "val2014")
    assert len(collection.class_names) == 80
    assert collection.class_names[11] == "thing 12"
    assert collection.photos[10].classes == {11}


def test_coco_masks_come_from_the_json_and_the_smaller_object_is_in_front(coco: Path):
    collection = CocoInstances(coco, "val2014")
    label_HW = collection.label_map(collection.photos[0])
    assert collection.photos[0].classes == {1, 2}
    assert label_HW.shape == open_image(collection.photos[0].image).shape[:2]
    assert (label_HW[12:16, 12:16] == 2).all()
    assert (label_HW == 1).sum() == 30 * 30 - 8 * 8


def test_fss_reads_the_split_lists_and_orders_images_by_number(fss: Path):
    collection = FSS1000(fss, "train")
    assert collection.class_names == {1: "ab wheel", 2: "abacus"}
    assert [photo.id for photo in collection.photos[:10]] == [f"ab_wheel/{n}" for n in range(1, 11)]
    assert set(np.unique(collection.label_map(collection.photos[10]))) == {0, 2}
    with pytest.raises(SpecError, match=r"splits/dev\.txt"):
        FSS1000(fss, "dev")


def test_index_maps_ignore_void_and_name_classes(index_maps: Path):
    folder = IndexMapFolder(index_maps)
    label_HW = folder.label_map(folder.photo("1_0"))
    assert (label_HW[:2] == IGNORED).all()
    assert set(np.unique(label_HW[2:])) == {0, 1}
    assert 6 not in folder.class_names
    assert all(folder.photos[index].classes for index in range(len(folder.photos)))


def test_unread_photographs_are_neither_listed_nor_opened(index_maps: Path):
    folder = IndexMapFolder(index_maps, unread=["1_0"])
    assert "1_0" not in {photo.id for photo in folder.photos}
    with pytest.raises(InputError, match="kept for scoring"):
        folder.label_map(folder.photo("1_0"))


def test_pairs_are_named_by_their_group(pairs: Path):
    folder = PairFolder(pairs)
    assert folder.class_names == {1: "red kite", 2: "statue"}
    assert len(folder.photos) == 8
    assert set(np.unique(folder.label_map(folder.photos[-1]))) == {0, 2}


def test_groups_of_pairs_are_asked_one_after_the_other_with_their_own_supports(pairs: Path):
    source = PairSource(kind="pairs", root=pairs)
    asked = source.evaluation("0", shots=2, count=3, seed=0)
    assert asked.novel_classes == [1, 2]
    assert [episode.class_id for episode in asked.episodes] == [1, 1, 1, 2, 2, 2]
    for episode in asked.episodes:
        photos = [episode.query, *episode.supports]
        assert len({photo.id for photo in photos}) == 3
        assert all(photo.classes == {episode.class_id} for photo in photos)


def test_groups_too_small_for_the_shots_are_not_asked(pairs: Path):
    with pytest.raises(SpecError, match="no episodes"):
        PairSource(kind="pairs", root=pairs).evaluation("0", shots=4, count=1, seed=0)


def test_base_photographs_show_no_novel_class(voc: Path, coco: Path, fss: Path, index_maps: Path):
    pascal, coco_photos = PascalSource(kind="pascal", root=voc), CocoSource(kind="coco", root=coco)
    maps = IndexMapSource(kind="index_maps", root=index_maps, episodes=index_maps / "episodes.json")
    novel_of = {
        pascal: lambda fold: pascal_novel_classes(int(fold)),
        coco_photos: lambda fold: coco_novel_classes(int(fold)),
        maps: EpisodesFile.read(index_maps / "episodes.json").novel_classes,
    }
    for source, novel in novel_of.items():
        for fold in source.folds():
            collection, photos = source.base(fold)
            assert photos
            for photo in photos:
                assert not set(np.unique(collection.label_map(photo)).tolist()) & set(novel(fold))
    collection, photos = FssSource(kind="fss", root=fss).base("0")
    tested = FssSource(kind="fss", root=fss).evaluation("0", 1, None, 0)
    assert not set(collection.class_names.values()) & set(tested.collection.class_names.values())


def test_building_base_data_opens_no_label_map_of_an_episode(index_maps: Path, monkeypatch: pytest.MonkeyPatch):
    import tlg.datasets.folder as module

    opened: list[str] = []
    original = module.open_index_map
    monkeypatch.setattr(module, "open_index_map", lambda path: opened.append(path.stem) or original(path))
    source = IndexMapSource(kind="index_maps", root=index_maps, episodes=index_maps / "episodes.json")
    _, photos = source.base("0")
    used = EpisodesFile.read(index_maps / "episodes.json").photo_ids("0")
    assert photos
    assert opened
    assert not set(opened) & used


def test_listing_episodes_of_a_file_opens_no_label_map(index_maps: Path, monkeypatch: pytest.MonkeyPatch):
    import tlg.datasets.folder as module

    monkeypatch.setattr(module, "open_index_map", lambda path: pytest.fail(f"opened {path}"))
    source = IndexMapSource(kind="index_maps", root=index_maps, episodes=index_maps / "episodes.json")
    episodes = source.evaluation("1", 2, None, 0).episodes
    assert [len(episode.supports) for episode in episodes] == [2] * 6
    assert episodes[0].class_id == 3


def test_an_episodes_file_names_what_it_lacks(index_maps: Path, tmp_path: Path):
    file = EpisodesFile.read(index_maps / "episodes.json")
    with pytest.raises(SpecError, match="no 5_shot list; it has 1_shot, 2_shot"):
        file.episodes("0", 5, IndexMapFolder(index_maps).photo)
    with pytest.raises(SpecError, match="no fold '7'"):
        file.novel_classes("7")
    content = json.loads((index_maps / "episodes.json").read_text())
    content["folds"]["0"]["1_shot"][0]["query"] = "nobody"
    (tmp_path / "bad.json").write_text(json.dumps(content))
    with pytest.raises(SpecError, match="'nobody' is not in"):
        EpisodesFile.read(tmp_path / "bad.json").episodes("0", 1, IndexMapFolder(index_maps).photo)
