"""Papers of state spaces, and of cells whose state is a matrix."""

from charlm.cells.papers.paper import Paper

SCHLAG = Paper(
    "schlag2021fast",
    "Schlag, Imanol and Irie, Kazuki and Schmidhuber, Jürgen",
    "Linear transformers are secretly fast weight programmers",
    2021,
    booktitle="Proceedings of the 38th International Conference on Machine Learning (ICML)",
    arxiv="2102.11174",
)
GRAZZI = Paper(
    "grazzi2025negative",
    "Grazzi, Riccardo and Siems, Julien and Zela, Arber and Franke, Jörg K. H. and Hutter, Frank "
    "and Pontil, Massimiliano",
    "Unlocking state-tracking in linear RNNs through negative eigenvalues",
    2025,
    booktitle="The Thirteenth International Conference on Learning Representations (ICLR)",
    arxiv="2411.12537",
)
PAPERS: dict[str, tuple[Paper, ...]] = {
    "deltanet": (
        Paper(
            "yang2024deltanet",
            "Yang, Songlin and Wang, Bailin and Zhang, Yu and Shen, Yikang and Kim, Yoon",
            "Parallelizing linear transformers with the delta rule over sequence length",
            2024,
            booktitle="Advances in Neural Information Processing Systems 37",
            arxiv="2406.06484",
        ),
        SCHLAG,
        GRAZZI,
    ),
    "deltaproduct": (
        Paper(
            "siems2025deltaproduct",
            "Siems, Julien and Carstensen, Timur and Zela, Arber and Hutter, Frank and Pontil, "
            "Massimiliano and Grazzi, Riccardo",
            "DeltaProduct: Improving state-tracking in linear RNNs via Householder products",
            2025,
            booktitle="Advances in Neural Information Processing Systems 38",
            arxiv="2502.10297",
        ),
    ),
    "gated-deltanet": (
        Paper(
            "yang2025gated",
            "Yang, Songlin and Kautz, Jan and Hatamizadeh, Ali",
            "Gated delta networks: Improving Mamba2 with delta rule",
            2025,
            booktitle="The Thirteenth International Conference on Learning Representations (ICLR)",
            arxiv="2412.06464",
        ),
    ),
    "gla": (
        Paper(
            "yang2024gla",
            "Yang, Songlin and Wang, Bailin and Shen, Yikang and Panda, Rameswar and Kim, Yoon",
            "Gated linear attention transformers with hardware-efficient training",
            2024,
            booktitle="Proceedings of the 41st International Conference on Machine Learning (ICML)",
            arxiv="2312.06635",
        ),
    ),
    "hgrn2": (
        Paper(
            "qin2024hgrn2",
            "Qin, Zhen and Yang, Songlin and Sun, Weixuan and Shen, Xuyang and Li, Dong and Sun, "
            "Weigao and Zhong, Yiran",
            "HGRN2: Gated linear RNNs with state expansion",
            2024,
            booktitle="First Conference on Language Modeling (COLM)",
            arxiv="2404.07904",
        ),
    ),
    "m2rnn": (
        Paper(
            "mishra2026m2rnn",
            "Mishra, Mayank and Tan, Shawn and Stoica, Ion and Gonzalez, Joseph and Dao, Tri",
            "M2RNN: Non-linear RNNs with matrix-valued states for scalable language modeling",
            2026,
            arxiv="2603.14360",
        ),
    ),
    "mamba": (
        Paper(
            "gu2023mamba",
            "Gu, Albert and Dao, Tri",
            "Mamba: Linear-time sequence modeling with selective state spaces",
            2023,
            arxiv="2312.00752",
        ),
    ),
    "mamba2": (
        Paper(
            "dao2024mamba2",
            "Dao, Tri and Gu, Albert",
            "Transformers are SSMs: Generalized models and efficient algorithms through "
            "structured state space duality",
            2024,
            booktitle="Proceedings of the 41st International Conference on Machine Learning (ICML)",
            arxiv="2405.21060",
        ),
    ),
    "mamba3": (
        Paper(
            "lahoti2026mamba3",
            "Lahoti, Aakash and Li, Kevin Y. and Chen, Berlin and Wang, Caitlin and Bick, Aviv "
            "and Kolter, J. Zico and Dao, Tri and Gu, Albert",
            "Mamba-3: Improved sequence modeling using state space principles",
            2026,
            booktitle="The Fourteenth International Conference on Learning Representations (ICLR)",
            arxiv="2603.15569",
        ),
    ),
    "retnet": (
        Paper(
            "sun2023retentive",
            "Sun, Yutao and Dong, Li and Huang, Shaohan and Ma, Shuming and Xia, Yuqing and Xue, "
            "Jilong and Wang, Jianyong and Wei, Furu",
            "Retentive network: A successor to transformer for large language models",
            2023,
            arxiv="2307.08621",
        ),
    ),
    "rwkv7": (
        Paper(
            "peng2025rwkv7",
            "Peng, Bo and Zhang, Ruichong and Goldstein, Daniel and Alcaide, Eric and Du, Xingjian "
            "and Hou, Haowen and Lin, Jiaju and Liu, Jiaxing and Lu, Janna and Merrill, William "
            "and Song, Guangyu and Tan, Kaifeng and Utpala, Saiteja and Wilce, Nathan and Wind, "
            "Johan S. and Wu, Tianyi and Wuttke, Daniel and Zhou-Zheng, Christian",
            'RWKV-7 "Goose" with expressive dynamic state evolution',
            2025,
            arxiv="2503.14456",
        ),
    ),
}
