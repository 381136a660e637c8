//! Verbs of other tongues than English, as APIs of banks, shops and authorities have them: `/kunden/7/loeschen`, `eliminarCliente`.

/// Verbs after which something is gone, in the forms that stand in paths and names. Sorted by bytes.
const DESTROYING: &[&str] = &[
    "apagar",
    "borra",
    "borrar",
    "cancella",
    "cancellare",
    "deletar",
    "destruir",
    "detruire",
    "distruggi",
    "efface",
    "effacer",
    "elimina",
    "eliminar",
    "eliminare",
    "entfernen",
    "excluir",
    "fjern",
    "hapus",
    "kosongkan",
    "leegmaken",
    "leeren",
    "loesche",
    "loeschen",
    "losche",
    "loschen",
    "lösche",
    "löschen",
    "obrisi",
    "odstrani",
    "odstranit",
    "poista",
    "quitar",
    "radera",
    "remover",
    "rimuovere",
    "rimuovi",
    "skasuj",
    "slett",
    "smazat",
    "sterge",
    "supprime",
    "supprimer",
    "suprimir",
    "svuota",
    "svuotare",
    "torles",
    "törlés",
    "töröl",
    "udalit",
    "usun",
    "usuń",
    "vaciar",
    "vernichten",
    "verwijder",
    "verwijderen",
    "vider",
    "vymazat",
    "wissen",
    "șterge",
    "видалити",
    "очистить",
    "стереть",
    "удалить",
    "حذف",
    "删除",
    "刪除",
    "削除",
    "삭제",
];

/// Whether the word is such a verb.
pub(super) fn destroys(word: &str) -> bool {
    // No verb of these is shorter in bytes than its shortest, so most words are turned away here.
    word.len() >= 4 && DESTROYING.binary_search(&word).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted() {
        assert!(DESTROYING.is_sorted(), "a search by halves needs it so");
        for verb in DESTROYING {
            assert!(destroys(verb), "{verb}");
        }
        for word in ["", "sil", "löschung", "kunde", "delete"] {
            assert!(!destroys(word), "{word}");
        }
    }
}
