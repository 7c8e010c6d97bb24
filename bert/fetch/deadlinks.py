"""Addresses that scripts and papers still name although the data are gone, and what to use instead.

docs/data.md tells the same at length. An address that cannot work is refused when the recipe is
checked; one that may have worked until yesterday gets a word of advice with its error.
"""

import re

# Regular expression of the address -> what to do instead.
_DEAD = {
    r"//(drive|docs)\.google\.com/|//drive\.usercontent\.google\.com/": (
        "Google Drive answers with a page, not the file, and the shared folders of MLPerf and "
        "OpenWebText are closed or rearranged. Use MLCommons' bert-input-files.uri or "
        "bert-preprocessed-wikipedia-dataset.uri, or Skylion007/openwebtext on Hugging Face"
    ),
    r"//battle\.shawwn\.com/|//(mystic\.)?the-eye\.eu/|//yknzhu\.wixsite\.com/"
    r"|//[\w.]*cs\.toronto\.edu/~?mbweb|//[\w.]*smashwords\.com/": (
        "BooksCorpus is no longer given out there. Use Project Gutenberg's plain texts, or a local "
        "folder of .txt (format `books`)"
    ),
    r"//s3\.amazonaws\.com/senteval/": (
        "the bucket is closed. Use https://dl.fbaipublicfiles.com/senteval/senteval_data/ with the "
        "same file names"
    ),
    r"//gist\.(github|githubusercontent)\.com/W4ngatang/": (
        "this is a download script, not data, and its MRPC part is broken. Use the two `mrpc` "
        "files of config/config.yaml"
    ),
    r"//firebasestorage\.googleapis\.com/v0/b/mtl-sentence-representations": (
        "GLUE has moved. Use https://dl.fbaipublicfiles.com/glue/data/<task>.zip, and "
        "mrpc_dev_ids.tsv in the same folder"
    ),
    r"//worksheets\.codalab\.org/": (
        "CodaLab is closed. SQuAD's data are at https://rajpurkar.github.io/SQuAD-explorer/dataset/"
        "; its scorer is part of this project"
    ),
    r"//github\.com/[^/]+/[^/]+/blob/": (
        "this is a web page about the file. Use https://raw.githubusercontent.com/<owner>/<name>/"
        "<commit>/<path>"
    ),
}
# Advice beside the error of an address that failed.
_DOUBTFUL = {
    r"//dumps\.wikimedia\.org/\w+/\d{8}/": (
        "Wikimedia deletes dated dumps after some months: take a newer date from its folder, a "
        "mirror that keeps older ones, or MLCommons' copy of 20200101 (docs/data.md)"
    ),
    r"//dumps\.wikimedia\.org/": (
        "Wikimedia also turns away clients that do not name a contact: set the environment "
        "variable BERT_CONTACT to a mail address or web page"
    ),
    r"//training\.mlcommons-storage\.org/": (
        "Some of MLCommons' files want a login in a browser; its download page says which"
    ),
    r"//huggingface\.co/": "A gated data set wants a login: download it by hand",
}


def replacement(url: str) -> str | None:
    """What to use instead of an address that is known to be dead; None for all others."""
    return next((text for form, text in _DEAD.items() if re.search(form, url)), None)


def advice(url: str) -> str:
    """What often helps when this address fails, as further sentences; mostly empty."""
    found = [text for form, text in _DOUBTFUL.items() if re.search(form, url)]
    return "".join(f" {text}." for text in found)
