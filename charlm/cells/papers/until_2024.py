"""Papers of the cells up to the xLSTM of 2024."""

from charlm.cells.papers.paper import Paper

CHO = Paper(
    "cho2014gru",
    "Cho, Kyunghyun and van Merriënboer, Bart and Gulcehre, Caglar and Bahdanau, "
    "Dzmitry and Bougares, Fethi and Schwenk, Holger and Bengio, Yoshua",
    "Learning phrase representations using RNN encoder-decoder for statistical machine translation",
    2014,
    booktitle="Proceedings of the 2014 Conference on Empirical Methods in Natural "
    "Language Processing (EMNLP)",
    pages="1724-1734",
    doi="10.3115/v1/D14-1179",
    arxiv="1406.1078",
)
BECK = Paper(
    "beck2024xlstm",
    "Beck, Maximilian and Pöppel, Korbinian and Spanring, Markus and Auer, Andreas "
    "and Prudnikova, Oleksandra and Kopp, Michael and Klambauer, Günter and "
    "Brandstetter, Johannes and Hochreiter, Sepp",
    "xLSTM: Extended long short-term memory",
    2024,
    booktitle="Advances in Neural Information Processing Systems 37",
    arxiv="2405.04517",
)
FENG = Paper(
    "feng2024minimal",
    "Feng, Leo and Tung, Frederick and Ahmed, Mohamed Osama and Bengio, Yoshua and "
    "Hajimirsadeghi, Hossein",
    "Were RNNs all we needed?",
    2024,
    arxiv="2410.01201",
)
PAPERS: dict[str, tuple[Paper, ...]] = {
    "attention": (
        Paper(
            "vaswani2017attention",
            "Vaswani, Ashish and Shazeer, Noam and Parmar, Niki and Uszkoreit, "
            "Jakob and Jones, Llion and Gomez, Aidan N. and Kaiser, Łukasz and "
            "Polosukhin, Illia",
            "Attention is all you need",
            2017,
            booktitle="Advances in Neural Information Processing Systems 30",
            pages="5998-6008",
            arxiv="1706.03762",
        ),
    ),
    "clockwork": (
        Paper(
            "koutnik2014clockwork",
            "Koutník, Jan and Greff, Klaus and Gomez, Faustino and Schmidhuber, Jürgen",
            "A clockwork RNN",
            2014,
            booktitle="Proceedings of the 31st International Conference on Machine Learning (ICML)",
            arxiv="1402.3511",
        ),
    ),
    "coupled-lstm": (
        Paper(
            "greff2017odyssey",
            "Greff, Klaus and Srivastava, Rupesh K. and Koutník, Jan and "
            "Steunebrink, Bas R. and Schmidhuber, Jürgen",
            "LSTM: A search space odyssey",
            2017,
            journal="IEEE Transactions on Neural Networks and Learning Systems",
            volume="28",
            number="10",
            pages="2222-2232",
            doi="10.1109/TNNLS.2016.2582924",
            arxiv="1503.04069",
        ),
    ),
    "depth-gated-lstm": (
        Paper(
            "yao2015depth",
            "Yao, Kaisheng and Cohn, Trevor and Vylomova, Katerina and Duh, Kevin and Dyer, Chris",
            "Depth-gated LSTM",
            2015,
            arxiv="1508.03790",
        ),
    ),
    "gru": (CHO,),
    "gru-cho": (CHO,),
    "indrnn": (
        Paper(
            "li2018indrnn",
            "Li, Shuai and Li, Wanqing and Cook, Chris and Zhu, Ce and Gao, Yanbo",
            "Independently recurrent neural network (IndRNN): Building a longer and deeper RNN",
            2018,
            booktitle="Proceedings of the IEEE Conference on Computer Vision and "
            "Pattern Recognition (CVPR)",
            pages="5457-5466",
            arxiv="1803.04831",
        ),
    ),
    "irnn": (
        Paper(
            "le2015irnn",
            "Le, Quoc V. and Jaitly, Navdeep and Hinton, Geoffrey E.",
            "A simple way to initialize recurrent networks of rectified linear units",
            2015,
            arxiv="1504.00941",
        ),
    ),
    "layernorm-lstm": (
        Paper(
            "ba2016layernorm",
            "Ba, Jimmy Lei and Kiros, Jamie Ryan and Hinton, Geoffrey E.",
            "Layer normalization",
            2016,
            arxiv="1607.06450",
        ),
    ),
    "lru": (
        Paper(
            "orvieto2023lru",
            "Orvieto, Antonio and Smith, Samuel L. and Gu, Albert and Fernando, "
            "Anushan and Gulcehre, Caglar and Pascanu, Razvan and De, Soham",
            "Resurrecting recurrent neural networks for long sequences",
            2023,
            booktitle="Proceedings of the 40th International Conference on Machine Learning (ICML)",
            pages="26670-26698",
            arxiv="2303.06349",
        ),
    ),
    "lstm": (
        Paper(
            "hochreiter1997lstm",
            "Hochreiter, Sepp and Schmidhuber, Jürgen",
            "Long short-term memory",
            1997,
            journal="Neural Computation",
            volume="9",
            number="8",
            pages="1735-1780",
            doi="10.1162/neco.1997.9.8.1735",
        ),
        Paper(
            "gers2000forget",
            "Gers, Felix A. and Schmidhuber, Jürgen and Cummins, Fred",
            "Learning to forget: Continual prediction with LSTM",
            2000,
            journal="Neural Computation",
            volume="12",
            number="10",
            pages="2451-2471",
            doi="10.1162/089976600300015015",
        ),
    ),
    "matrix-lstm": (BECK,),
    "mingru": (FENG,),
    "minlstm": (FENG,),
    "mogrifier": (
        Paper(
            "melis2020mogrifier",
            "Melis, Gábor and Kočiský, Tomáš and Blunsom, Phil",
            "Mogrifier LSTM",
            2020,
            booktitle="International Conference on Learning Representations (ICLR)",
            arxiv="1909.01792",
        ),
    ),
    "mul-lstm": (
        Paper(
            "krause2016multiplicative",
            "Krause, Ben and Lu, Liang and Murray, Iain and Renals, Steve",
            "Multiplicative LSTM for sequence modelling",
            2016,
            arxiv="1609.07959",
        ),
    ),
    "peephole-lstm": (
        Paper(
            "gers2000peephole",
            "Gers, Felix A. and Schmidhuber, Jürgen",
            "Recurrent nets that time and count",
            2000,
            booktitle="Proceedings of the IEEE-INNS-ENNS International Joint "
            "Conference on Neural Networks (IJCNN)",
            volume="3",
            pages="189-194",
        ),
    ),
    "qrnn": (
        Paper(
            "bradbury2017qrnn",
            "Bradbury, James and Merity, Stephen and Xiong, Caiming and Socher, Richard",
            "Quasi-recurrent neural networks",
            2017,
            booktitle="International Conference on Learning Representations (ICLR)",
            arxiv="1611.01576",
        ),
    ),
    "rg-lru": (
        Paper(
            "de2024griffin",
            "De, Soham and Smith, Samuel L. and Fernando, Anushan and Botev, "
            "Aleksandar and Cristian-Muraru, George and Gu, Albert and Haroun, "
            "Ruba and Berrada, Leonard and Chen, Yutian and Srinivasan, Srivatsan "
            "and Desjardins, Guillaume and Doucet, Arnaud and Budden, David and "
            "Teh, Yee Whye and Pascanu, Razvan and de Freitas, Nando and Gulcehre, "
            "Caglar",
            "Griffin: Mixing gated linear recurrences with local attention for "
            "efficient language models",
            2024,
            arxiv="2402.19427",
        ),
    ),
    "rnn": (
        Paper(
            "elman1990finding",
            "Elman, Jeffrey L.",
            "Finding structure in time",
            1990,
            journal="Cognitive Science",
            volume="14",
            number="2",
            pages="179-211",
            doi="10.1207/s15516709cog1402_1",
        ),
    ),
    "slstm": (BECK,),
    "sru": (
        Paper(
            "lei2018sru",
            "Lei, Tao and Zhang, Yu and Wang, Sida I. and Dai, Hui and Artzi, Yoav",
            "Simple recurrent units for highly parallelizable recurrence",
            2018,
            booktitle="Proceedings of the 2018 Conference on Empirical Methods in "
            "Natural Language Processing (EMNLP)",
            pages="4470-4481",
            arxiv="1709.02755",
        ),
    ),
}
